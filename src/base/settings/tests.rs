//! Tests of the settings: layers, values and their errors.

use std::fs;

use super::file::FILE_BYTES_MAX;
use super::*;

fn sources() -> Sources {
    Sources {
        environment: vec![("BEADLE_DATA_DIR".into(), "/var/empty/beadle".into())],
        cores: 2,
        ..Sources::default()
    }
}

fn with_flags(flags: &[(&str, &str)]) -> Sources {
    let flags = flags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Sources { flags, ..sources() }
}

fn with_file(text: &str) -> (tempfile::TempDir, Sources) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("settings.toml");
    fs::write(&path, text).unwrap();
    (directory, Sources { config: Some(path), ..sources() })
}

fn shown(loaded: &Loaded, name: &str) -> (String, &'static str) {
    let (_, value, origin) = loaded.rows().find(|(key, ..)| key.name == name).unwrap();
    (value, origin.layer())
}

#[test]
fn the_defaults_are_the_products() {
    let loaded = Settings::load(&sources()).unwrap();
    assert_eq!(loaded.settings, Settings::defaults("/var/empty/beadle".into(), 2));
    let rows: Vec<_> = loaded.rows().map(|(key, value, _)| format!("{}={value}", key.name)).collect();
    assert_eq!(
        rows,
        [
            "listen=127.0.0.1:7878",
            "data_dir=/var/empty/beadle",
            "database=off",
            "database_connections=12",
            "lease=30s",
            "slots=4",
            "labels=",
            "poll_interval=1s",
            "drain_timeout=30s",
            "kill_grace=10s",
            "behind_proxy=false",
            "allow_hosts=",
            "allow_origins=",
            "max_connections=1024",
            "max_queued=1000000",
            "no_backup=false",
            "retention.succeeded=7d",
            "retention.failed=30d",
            "retention.log_bytes=10GiB",
            "min_free=64MiB",
            "log.attempt_cap=64MiB",
            "cgroup=auto",
            "job.memory_max=off",
            "job.processes_max=off",
            "log.format=auto",
            "log.level=info",
        ]
    );
    assert_eq!(Settings::load(&Sources { cores: 8, ..sources() }).unwrap().settings.slots, 16);
}

#[test]
fn every_shown_value_is_read_back_as_itself() {
    let loaded = Settings::load(&with_flags(&[
        ("listen", "[::1]:0"),
        ("poll_interval", "1s250ms"),
        ("allow_hosts", "a.example"),
        ("allow_hosts", "b.example:8443"),
        ("allow_origins", "https://a.example"),
        ("retention.failed", "2w"),
        ("log.attempt_cap", "65537"),
        ("cgroup", "off"),
        ("job.memory_max", "512MiB"),
        ("job.processes_max", "100"),
        ("log.format", "json"),
        ("behind_proxy", "true"),
    ]))
    .unwrap();
    let mut again = Settings::defaults(PathBuf::new(), 1);
    for (key, value, _) in loaded.rows() {
        let values = if key.shape == Shape::List { split_list(&value) } else { vec![value] };
        (key.set)(&mut again, &values).unwrap();
    }
    assert_eq!(again, loaded.settings);
    assert_eq!(loaded.settings.allow_hosts, ["a.example", "b.example:8443"]);
    assert_eq!(loaded.settings.retention_failed, Duration::from_hours(14 * 24));
}

#[test]
fn flags_win_over_environment_over_file_over_defaults() {
    let (_directory, mut sources) = with_file(
        "slots = 5\npoll_interval = \"2s\"\ndrain_timeout = \"5s\"\n[retention]\nsucceeded = \"1d\"\n",
    );
    sources.environment.push(("BEADLE_POLL_INTERVAL".into(), "3s".into()));
    sources.environment.push(("BEADLE_RETENTION_SUCCEEDED".into(), "2d".into()));
    sources.flags.push(("retention.succeeded".into(), "3d".into()));
    let loaded = Settings::load(&sources).unwrap();
    assert_eq!(shown(&loaded, "slots"), ("5".into(), "file"));
    assert_eq!(shown(&loaded, "drain_timeout"), ("5s".into(), "file"));
    assert_eq!(shown(&loaded, "poll_interval"), ("3s".into(), "environment"));
    assert_eq!(shown(&loaded, "retention.succeeded"), ("3d".into(), "flag"));
    assert_eq!(shown(&loaded, "kill_grace"), ("10s".into(), "default"));
    assert_eq!(shown(&loaded, "data_dir"), ("/var/empty/beadle".into(), "environment"));
}

#[test]
fn the_file_in_the_data_directory_is_read_and_cannot_move_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(FILE_NAME);
    fs::write(&path, "max_queued = 7\nallow_hosts = [\"a.example\", \"b.example\"]\n").unwrap();
    let sources = with_flags(&[("data_dir", directory.path().to_str().unwrap())]);
    let loaded = Settings::load(&sources).unwrap();
    assert_eq!(loaded.settings.max_queued, 7);
    assert_eq!(loaded.settings.allow_hosts, ["a.example", "b.example"]);
    assert_eq!(loaded.settings.data_dir, directory.path());

    fs::write(&path, "data_dir = \"/elsewhere\"\n").unwrap();
    assert!(Settings::load(&sources).unwrap_err().contains("cannot be set in the file"));
}

#[test]
fn labels_are_a_table_or_a_list_in_the_file_and_a_list_in_a_variable() {
    for text in ["[labels]\nos = \"linux\"\ncores = 8\n", "labels = [\"os=linux\", \"cores=8\"]\n"] {
        let (_directory, mut sources) = with_file(text);
        let loaded = Settings::load(&sources).unwrap();
        assert_eq!(shown(&loaded, "labels"), ("cores=8,os=linux".into(), "file"));
        sources.environment.push(("BEADLE_LABELS".into(), "gpu=a100, os=linux".into()));
        assert_eq!(
            shown(&Settings::load(&sources).unwrap(), "labels"),
            ("gpu=a100,os=linux".into(), "environment")
        );
    }
    let (_directory, wrong) = with_file("slots = { a = 1 }\n");
    assert!(Settings::load(&wrong).unwrap_err().contains("a whole number"));
}

#[test]
fn unknown_keys_are_refused_with_the_nearest_known_one() {
    for (text, expected) in [
        ("slot = 4", "`slot` is not a setting; did you mean slots?"),
        (
            "[retention]\nsuceeded = \"1d\"",
            "`retention.suceeded` is not a setting; did you mean retention.succeeded?",
        ),
        ("[lgo]\nlevel = \"info\"", "`lgo` is not a setting; did you mean"),
        ("retention = 3", "`retention` is not a setting"),
    ] {
        let (_directory, sources) = with_file(text);
        let message = Settings::load(&sources).unwrap_err();
        assert!(message.contains(expected), "{message}");
    }
    let mut from_environment = sources();
    from_environment.environment.push(("BEADLE_POL_INTERVAL".into(), "1s".into()));
    assert_eq!(
        Settings::load(&from_environment).unwrap_err(),
        "the environment variable BEADLE_POL_INTERVAL is not a setting; did you mean BEADLE_POLL_INTERVAL?"
    );
    assert!(Settings::load(&with_flags(&[("slotz", "1")])).unwrap_err().contains("did you mean slots?"));
}

#[test]
fn variables_of_clients_jobs_and_tests_are_left_alone() {
    let mut sources = sources();
    for name in
        OTHER_VARIABLES.into_iter().chain(["BEADLE_TEST_POSTGRES", "BEADLE_PARAM_SLOTS", "OTHER_SLOTS"])
    {
        sources.environment.push((name.into(), "anything".into()));
    }
    // Empty means unset, as for every variable.
    sources.environment.push(("BEADLE_SLOTS".into(), String::new()));
    assert_eq!(Settings::load(&sources).unwrap().settings, Settings::defaults("/var/empty/beadle".into(), 2));
}

#[test]
fn bad_values_name_the_key_the_value_and_what_is_accepted() {
    for (key, value) in [
        ("listen", "localhost"),
        ("slots", "0"),
        ("slots", "-1"),
        ("slots", "10001"),
        ("labels", "gpu"),
        ("labels", "gpu=a100,gpu=h100"),
        ("poll_interval", "1"),
        ("poll_interval", "49ms"),
        ("poll_interval", "61s"),
        ("drain_timeout", "soon"),
        ("kill_grace", "2d"),
        ("behind_proxy", "maybe"),
        ("allow_hosts", "http://a.example"),
        ("allow_origins", "a.example"),
        ("allow_origins", "https://a.example/path"),
        ("max_connections", "15"),
        ("max_queued", "0"),
        ("retention.succeeded", "0s"),
        ("retention.log_bytes", "1KiB"),
        ("log.attempt_cap", "64 bushels"),
        ("cgroup", "on"),
        ("job.memory_max", "0"),
        ("job.memory_max", "1KiB"),
        ("job.processes_max", "none"),
        ("log.format", "xml"),
        ("log.level", "loud"),
        ("data_dir", ""),
    ] {
        let message = Settings::load(&with_flags(&[(key, value)])).unwrap_err();
        let accepted = KEYS.iter().find(|known| known.name == key).unwrap().accepts;
        let flag = format!("flag --{}", key.replace(['.', '_'], "-"));
        for part in [format!("`{key}`"), format!("{value:?}"), accepted.to_owned(), flag] {
            assert!(message.contains(&part), "{message} lacks {part}");
        }
    }
    let (_directory, sources) = with_file("slots = 1.5");
    assert!(Settings::load(&sources).unwrap_err().contains("`slots` cannot be 1.5: a whole number"));
}

#[test]
fn only_a_proxy_opens_another_address_than_loopback() {
    for address in ["0.0.0.0:7878", "192.0.2.1:80", "[::]:7878"] {
        assert!(Settings::load(&with_flags(&[("listen", address)])).unwrap_err().contains("behind_proxy"));
        assert!(Settings::load(&with_flags(&[("listen", address), ("behind_proxy", "true")])).is_ok());
    }
    assert!(Settings::load(&with_flags(&[("listen", "127.0.0.2:1")])).is_ok());
}

#[test]
fn a_file_that_cannot_be_read_is_refused_and_never_ignored() {
    let missing = Sources { config: Some("/var/empty/none.toml".into()), ..sources() };
    assert!(
        Settings::load(&missing).unwrap_err().contains("cannot read the settings in /var/empty/none.toml")
    );
    let (_directory, broken) = with_file("slots = ");
    assert!(Settings::load(&broken).unwrap_err().contains("cannot read the settings"));
    let (directory, long) = with_file("");
    let file = fs::File::create(directory.path().join("settings.toml")).unwrap();
    file.set_len(FILE_BYTES_MAX + 1).unwrap();
    assert!(Settings::load(&long).unwrap_err().contains("longer than"));
}

#[test]
fn the_data_directory_follows_its_chain() {
    let all = [
        ("HOME", "/home/a"),
        ("XDG_STATE_HOME", "/state"),
        ("STATE_DIRECTORY", "/var/lib/beadle:/other"),
        ("BEADLE_DATA_DIR", "/data"),
    ];
    let expected = ["/home/a/.local/state/beadle", "/state/beadle", "/var/lib/beadle", "/data"];
    for (count, expected) in (1..).zip(expected) {
        let environment: Vec<_> =
            all[..count].iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        assert_eq!(data_dir(None, &environment), Some(expected.into()));
        assert_eq!(data_dir(Some(Path::new("/flag")), &environment), Some("/flag".into()));
    }
    assert_eq!(data_dir(None, &[]), None);
    assert!(Settings::load(&Sources::default()).unwrap_err().contains("BEADLE_DATA_DIR"));
}

#[test]
fn lengths_are_read_in_one_way() {
    for (text, millis) in [
        ("0", 0),
        ("250ms", 250),
        ("30s", 30_000),
        ("1m30s", 90_000),
        ("1h1ms", 3_600_001),
        ("1w1d", 691_200_000),
    ] {
        assert_eq!(parse_length(text), Some(Duration::from_millis(millis)), "{text}");
    }
    for text in
        ["", "5", "s", "1.5s", "-1s", "1s1m", "1s1s", "1 s", "5S", "99999999999999999999s", "300000000000w"]
    {
        assert_eq!(parse_length(text), None, "{text}");
    }
    assert_eq!(show_length(Duration::from_millis(93_784_005)), "1d2h3m4s5ms");
    assert_eq!(show_length(Duration::from_micros(7)), "0s");
}
