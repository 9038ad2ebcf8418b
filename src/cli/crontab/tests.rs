//! Crontabs, line by line and whole.

use super::line::{Line, read, script};
use super::*;

fn settings() -> Settings {
    Settings { time_zone: "Europe/Berlin".to_owned(), home: Some("/home/ada".to_owned()), has_users: false }
}

fn job(text: &str) -> Job {
    let mut translation = translate(text, &settings());
    assert_eq!(translation.jobs.len(), 1, "{text}: {:?}", translation.remarks);
    translation.jobs.remove(0)
}

/// The remarks about lines.
fn remarks(text: &str, settings: &Settings) -> Vec<String> {
    let all = translate(text, settings).remarks.into_iter().filter(|remark| remark.line > 0);
    all.map(|remark| format!("{}: {}", remark.line, remark.text)).collect()
}

#[test]
fn a_line_is_what_cron_takes_it_for() {
    let variable =
        |name: &str, value: &str| Line::Variable { name: name.to_owned(), value: value.to_owned() };
    let job = |schedule: &str, command: &str| {
        Line::Job(JobLine { schedule: schedule.to_owned(), user: None, command: command.to_owned() })
    };
    for (line, expected) in [
        ("", Line::Empty),
        (" \t\r", Line::Empty),
        ("  ## why", Line::Comment("why".to_owned())),
        ("A=b", variable("A", "b")),
        ("A = b c ", variable("A", "b c")),
        ("A=", variable("A", "")),
        ("A=\"b c \"", variable("A", "b c ")),
        ("'A'='$PATH:x'", variable("A", "$PATH:x")),
        ("A=\"", variable("A", "\"")),
        ("A=b=c", variable("A", "b=c")),
        ("* * * * * a=1 x", job("* * * * *", "a=1 x")),
        ("0 5 * * 1=2 x", job("0 5 * * 1=2", "x")),
        ("\t*/5  1-3\t* JAN Mon   x  y", job("*/5 1-3 * JAN Mon", "x  y")),
        ("@daily x", job("@daily", "x")),
        ("-*/5 * * * * x", job("*/5 * * * *", "x")),
        ("1 2 3 4 5", Line::Unknown("it has no command behind the fields".to_owned())),
        ("@daily", Line::Unknown("it has no command behind the fields".to_owned())),
        ("nonsense here", Line::Unknown("it is neither a variable nor a job".to_owned())),
    ] {
        assert_eq!(read(line, false), expected, "{line:?}");
    }
    let Line::Job(of_user) = read("17 * * * * root cd / && x", true) else { panic!("a job") };
    assert_eq!((of_user.user.as_deref(), of_user.command.as_str()), (Some("root"), "cd / && x"));
    assert!(matches!(read("17 * * * * root", true), Line::Unknown(reason) if reason.contains("the user")));
}

#[test]
fn percent_signs_become_lines_of_input() {
    for (command, expected) in [
        ("date +\\%F", "date +%F"),
        ("cat%a", "{\ncat\n} <<'INPUT'\na\nINPUT\n"),
        ("cat%a%b \\% c%", "{\ncat\n} <<'INPUT'\na\nb % c\nINPUT\n"),
        ("cat%", "{\ncat\n} <<'INPUT'\nINPUT\n"),
        ("cat%%a", "{\ncat\n} <<'INPUT'\n\na\nINPUT\n"),
        ("a; b # why%INPUT", "{\na; b # why\n} <<'INPUT_'\nINPUT\nINPUT_\n"),
        ("echo 'a\\b'", "echo 'a\\b'"),
        ("echo \\\\%x", "echo \\%x"),
    ] {
        assert_eq!(script(command), expected, "{command}");
    }
}

#[test]
fn schedules_keep_their_meaning() {
    for (schedule, expected) in [
        ("*/15 * * * *", "*/15 * * * *"),
        ("0  9-17/2 * jan-mar,dec Mon-Fri", "0 9-17/2 * jan-mar,dec Mon-Fri"),
        ("0 0 * * 7", "0 0 * * 7"),
        ("0 0 1,15 * 5", "0 0 1,15 * 5"),
        ("0 0 */2 * *", "0 0 */2 * *"),
        ("@weekly", "@weekly"),
        ("@every_minute", "* * * * *"),
    ] {
        assert_eq!(pattern(schedule).as_deref(), Ok(expected), "{schedule}");
    }
    for (schedule, reason) in [
        ("0 0 */2 * 1", "both match"),
        ("0 0 1 * */2", "both match"),
        ("0~59 * * * *", "random"),
        ("61 * * * *", "\"61\" in the minute"),
        ("@fortnightly", "not known"),
        ("0 0 31 2 *", "never fires"),
    ] {
        let found = pattern(schedule).expect_err(schedule);
        assert!(found.contains(reason) && !found.ends_with('.'), "{schedule}: {found}");
    }
}

#[test]
fn both_days_restricted_means_either_for_cron_and_for_us() {
    // Fridays and the 13th, as in crontab(5).
    let cron = CronPattern::compile(&job("0 0 13 * 5 x").cron).unwrap();
    let day = 86_400;
    let january = 56 * 365 * day + 14 * day;
    let days: Vec<_> = (0..31)
        .filter(|date| cron.count(january + date * day, january + (date + 1) * day) > 0)
        .map(|date| date + 1)
        .collect();
    assert_eq!(days, [2, 9, 13, 16, 23, 30]);
}

#[test]
fn the_environment_is_as_it_stood_at_the_line() {
    let text = "A=1\n0 0 * * * x\nA=2\nB=3\nSHELL=/bin/bash\nHOME=/srv\nCRON_TZ=Asia/Tokyo\nRANDOM_DELAY=5\n0 1 * * * y\nHOME=\n\
                MAILTO=\"\"\n0 2 * * * z\n";
    let jobs = translate(text, &settings()).jobs;
    let pairs =
        |job: &Job| job.environment.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>();
    assert_eq!(pairs(&jobs[0]), ["A=1"]);
    assert_eq!(pairs(&jobs[1]), ["A=2", "B=3", "HOME=/srv"]);
    let about = |job: &Job| {
        (
            job.shell.clone().unwrap_or_default(),
            job.directory.clone().unwrap_or_default(),
            job.time_zone.clone(),
            job.jitter_minutes,
        )
    };
    assert_eq!(about(&jobs[0]), (String::new(), "/home/ada".into(), "Europe/Berlin".into(), 0));
    assert_eq!(about(&jobs[1]), ("/bin/bash".into(), "/srv".into(), "Asia/Tokyo".into(), 5));
    assert_eq!(about(&jobs[2]).1, "/home/ada");
}

#[test]
fn comments_right_above_describe_and_switched_off_jobs_do_not() {
    assert_eq!(job("# one\n# two\n0 0 * * * x").description.as_deref(), Some("one two"));
    assert_eq!(job("# one\n\n0 0 * * * x").description, None);
    assert_eq!(job("# old:\n#0 0 * * * y\n0 0 * * * x").description, None);
}

#[test]
fn nothing_is_left_out_without_a_word() {
    for (text, part) in [
        ("@reboot x", "1: left out, because @reboot has no due time"),
        ("MAILTO=a@b.example", "1: MAILTO=a@b.example is left out: Beadle sends no mail"),
        ("CONTENT_TYPE=x", "about mail"),
        ("LOGNAME=x", "cron sets it"),
        ("TZ=Asia/Tokyo", "does not move the due times"),
        ("RANDOM_DELAY=10", "`jitter = \"10m\"`"),
        ("RANDOM_DELAY=x", "no number"),
        ("RANDOM_DELAY=2000", "`jitter = \"1440m\"`, the most"),
        ("BEADLE_X=1", "set by the daemon"),
        ("\n0 0 */2 * 1 x", "2: left out, because cron runs it when"),
        ("0 25 * * * x", "\"25\" in the hour"),
        ("what is this", "neither a variable nor a job: `what is this`"),
        ("* * * *", "no command"),
    ] {
        let found = remarks(text, &settings());
        assert!(found.len() == 1 && found[0].contains(part), "{text}: {found:?}");
    }
    assert_eq!(remarks("MAILTO=\"\"\nA=1\n# why\n\n0 0 * * * x", &settings()), Vec::<String>::new());
    let of_users = Settings { has_users: true, ..settings() };
    let found = remarks("0 0 * * * root x\n0 0 * * * root y\n0 0 * * * www z", &of_users);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("1: the user root is left out") && found[1].starts_with("3: the user www"));
    let whole = translate("0 0 * * * x", &Settings { home: None, ..settings() }).remarks;
    assert!(
        whole.iter().any(|remark| remark.line == 0 && remark.text.contains("home directory")),
        "{whole:?}"
    );
    assert_eq!(translate("# nothing\n", &settings()).remarks, []);
}

#[test]
fn names_say_what_a_command_does() {
    for (command, expected) in [
        ("/usr/local/bin/backup.sh --full", "backup"),
        ("cd /srv/app && ./bin/report.py >/dev/null 2>&1", "report"),
        ("test -x /usr/sbin/anacron || ( cd / && run-parts --report /etc/cron.daily )", "run-parts"),
        ("[ -d /x ] && /x/y", "y"),
        ("PATH=/bin A=b certbot -q renew", "certbot"),
        ("nice -n 19 ionice -c3 rsync -a /a /b", "rsync"),
        ("flock -n /tmp/x.lock timeout 5m php /srv/cron.php", "cron"),
        ("php -q /srv/www/tick.php", "tick"),
        ("bash -c 'sleep 1'", "sleep"),
        ("sh", "sh"),
        ("wall%The week%is over", "wall"),
        ("( sleep 5 )", "sleep"),
        ("\"/opt/my app/run\"", "my"),
        (":", "job"),
        ("/é/ünï cöde", "ünï"),
    ] {
        let mut taken = std::collections::BTreeSet::new();
        assert_eq!(names::unique(&mut taken, command), expected, "{command}");
        assert_eq!(names::unique(&mut taken, command), format!("{expected}-2"), "{command}");
    }
}

#[test]
fn what_is_written_can_be_read_and_says_the_same() {
    let text = "# It's \"new\"\nA='x \"y\" \\z'\nB=it's\n0 0 * * * echo \"a\\b\" 'c'%one%it's '''\n0 1 * * * ends with '\n0 2 * * * echo \u{7f}\n";
    let translation = translate(text, &settings());
    let toml = toml(&translation, "a\nb");
    let table: ::toml::Table = toml.parse().unwrap_or_else(|error| panic!("{error}\n{toml}"));
    for job in &translation.jobs {
        let task = &table["tasks"][&job.name];
        assert_eq!(task["script"].as_str(), Some(job.script.as_str()), "{toml}");
        for (name, value) in &job.environment {
            assert_eq!(task["environment"][name].as_str(), Some(value.as_str()), "{toml}");
        }
        assert_eq!(table["schedules"][&job.name]["time_zone"].as_str(), Some("Europe/Berlin"));
    }
    assert_eq!(translation.jobs.len(), 3);
}
