//! Real error lines of many languages and tools. What a person would call the same fault stands in one group.

use std::collections::{BTreeMap, HashMap};

use super::*;

/// Each group is one fault; every text of it must have one fingerprint, and no other group may have it.
const GROUPS: &[&[&str]] = &[
    // Rust
    &[
        "thread 'main' panicked at src/main.rs:14:9: index out of bounds: the len is 3 but the index is 99",
        "thread 'tokio-runtime-worker' panicked at src/jobs/load.rs:207:31: index out of bounds: the len is 10 but the index is 12",
    ],
    &["error[E0308]: mismatched types", "\u{1b}[1m\u{1b}[31merror[E0308]\u{1b}[0m: mismatched types"],
    &[
        "error[E0425]: cannot find value `x` in this scope",
        "error[E0425]: cannot find value `total` in this scope",
    ],
    &[
        "Error: Os { code: 2, kind: NotFound, message: \"No such file or directory\" }",
        "Error: Os { code: 2, kind: NotFound, message: \"No such file or directory\" } ",
    ],
    &["Error: Os { code: 13, kind: PermissionDenied, message: \"Permission denied\" }"],
    &[
        "Caused by: failed to connect to 10.0.0.7:5432: Connection refused (os error 111)",
        "Caused by: failed to connect to 192.168.17.254:5433: Connection refused (os error 111)",
    ],
    &["Caused by: failed to connect to 10.0.0.7:5432: Connection timed out (os error 110)"],
    // Python
    &[
        "ValueError: invalid literal for int() with base 10: '12a'",
        "ValueError: invalid literal for int() with base 10: 'forty-two'",
    ],
    &["KeyError: 'customer_id'", "KeyError: 'order_id'"],
    &["ZeroDivisionError: division by zero"],
    &[
        "FileNotFoundError: [Errno 2] No such file or directory: '/var/data/in/2024-03-01.csv'",
        "FileNotFoundError: [Errno 2] No such file or directory: '/var/data/in/2024-11-30.csv'",
    ],
    &["PermissionError: [Errno 13] Permission denied: '/var/data/in/2024-03-01.csv'"],
    &["ModuleNotFoundError: No module named 'pandas'", "ModuleNotFoundError: No module named 'yaml'"],
    &[
        "requests.exceptions.ConnectionError: HTTPConnectionPool(host='api-1.internal', port=8080): Max retries exceeded with url: /v1/items/77 (Caused by NewConnectionError('<urllib3.connection.HTTPConnection object at 0x7f2b5c0d3a90>: Failed to establish a new connection: [Errno 111] Connection refused'))",
        "requests.exceptions.ConnectionError: HTTPConnectionPool(host='api-2.internal', port=8081): Max retries exceeded with url: /v1/items/1234 (Caused by NewConnectionError('<urllib3.connection.HTTPConnection object at 0x7fd01e44b1f0>: Failed to establish a new connection: [Errno 111] Connection refused'))",
    ],
    &["E       AssertionError: assert 41 == 42", "E       AssertionError: assert 7 == 8"],
    &[
        "json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)",
        "json.decoder.JSONDecodeError: Expecting value: line 14 column 23 (char 377)",
    ],
    // Node and its tools
    &[
        "TypeError: Cannot read properties of undefined (reading 'id')",
        "TypeError: Cannot read properties of undefined (reading 'name')",
    ],
    &["ReferenceError: config is not defined"],
    &["Error: connect ECONNREFUSED 127.0.0.1:6379", "Error: connect ECONNREFUSED 10.1.2.3:6380"],
    &["Error: connect ETIMEDOUT 10.1.2.3:6380"],
    &[
        "Error: ENOENT: no such file or directory, open '/srv/app/config.json'",
        "Error: ENOENT: no such file or directory, open '/home/u1/app/settings.json'",
    ],
    &[
        "Error: listen EADDRINUSE: address already in use :::3000",
        "Error: listen EADDRINUSE: address already in use :::8080",
    ],
    &[
        "src/app.ts(12,5): error TS2322: Type 'string' is not assignable to type 'number'.",
        "src/pages/index.tsx(201,17): error TS2322: Type 'null' is not assignable to type 'Date'.",
    ],
    &["src/app.ts(12,5): error TS2304: Cannot find name 'foo'."],
    &["npm ERR! code E404"],
    &["npm ERR! code ERESOLVE"],
    // Go
    &[
        "panic: runtime error: index out of range [5] with length 3",
        "panic: runtime error: index out of range [12] with length 12",
    ],
    &["panic: runtime error: invalid memory address or nil pointer dereference"],
    &[
        "2024/03/01 12:00:01 dial tcp 10.0.0.5:443: connect: connection refused",
        "2025/12/31 23:59:59 dial tcp 172.16.9.1:8443: connect: connection refused",
    ],
    &["2024/03/01 12:00:01 dial tcp 10.0.0.5:443: i/o timeout"],
    &[
        "level=error ts=2024-03-01T12:00:01.123Z caller=main.go:81 msg=\"loading config failed\" err=\"open /etc/app/a.yml: no such file or directory\"",
        "level=error ts=2024-03-02T01:13:55.900Z caller=main.go:81 msg=\"loading config failed\" err=\"open /etc/app/b.yml: no such file or directory\"",
    ],
    &[
        "level=error ts=2024-03-01T12:00:01.123Z caller=main.go:81 msg=\"loading config failed\" err=\"yaml: unmarshal errors\"",
    ],
    // Java
    &[
        "Exception in thread \"main\" java.lang.NullPointerException: Cannot invoke \"String.length()\" because \"<local1>\" is null",
        "Exception in thread \"pool-1-thread-7\" java.lang.NullPointerException: Cannot invoke \"User.getName()\" because \"user\" is null",
    ],
    &["Caused by: java.sql.SQLException: Connection is closed"],
    &["java.lang.OutOfMemoryError: Java heap space"],
    &[
        "Caused by: java.net.SocketTimeoutException: Read timed out after 30000 ms",
        "Caused by: java.net.SocketTimeoutException: Read timed out after 5000 ms",
    ],
    &[
        "java.lang.IllegalStateException: session Foo@1b2c3d4e is closed",
        "java.lang.IllegalStateException: session Foo@7a81fe20 is closed",
    ],
    // Ruby, PHP
    &[
        "app.rb:12:in `fetch': key not found: :token (KeyError)",
        "lib/jobs/sync.rb:340:in `fetch': key not found: :token (KeyError)",
    ],
    &[
        "undefined method `name' for nil:NilClass (NoMethodError)",
        "undefined method `price' for nil:NilClass (NoMethodError)",
    ],
    &[
        "PHP Fatal error:  Uncaught PDOException: SQLSTATE[HY000] [2002] Connection refused in /var/www/db.php:17",
        "PHP Fatal error:  Uncaught PDOException: SQLSTATE[HY000] [2002] Connection refused in /srv/site/lib/db.php:170",
    ],
    &[
        "PHP Fatal error:  Allowed memory size of 134217728 bytes exhausted (tried to allocate 20480 bytes) in /var/www/a.php on line 9",
        "PHP Fatal error:  Allowed memory size of 268435456 bytes exhausted (tried to allocate 65536 bytes) in /var/www/import/b.php on line 77",
    ],
    // C, the linker, make
    &[
        "main.c:3:5: error: 'x' undeclared (first use in this function)",
        "src/net/poll.c:140:12: error: 'fd' undeclared (first use in this function)",
    ],
    &[
        "main.c:3:10: fatal error: openssl/ssl.h: No such file or directory",
        "src/io.c:1:10: fatal error: zlib.h: No such file or directory",
    ],
    &[
        "/usr/bin/ld: main.o: undefined reference to `foo'",
        "/usr/bin/ld: /tmp/ccX81a2b.o: undefined reference to `bar_init'",
    ],
    &["make: *** [Makefile:12: all] Error 2", "make: *** [Makefile:48: all] Error 2"],
    &["make: *** [Makefile:12: all] Error 127"],
    &[
        "make: *** No rule to make target 'build/a.o', needed by 'app'.  Stop.",
        "make: *** No rule to make target 'lib/z.o', needed by 'tests'.  Stop.",
    ],
    &[
        "==4711==ERROR: AddressSanitizer: heap-use-after-free on address 0x602000000011 at pc 0x00000040063b",
        "==815==ERROR: AddressSanitizer: heap-use-after-free on address 0x60200000eff1 at pc 0x0000004a1fc2",
    ],
    // Shells and system tools
    &["bash: line 3: foo: command not found", "bash: line 17: foo: command not found"],
    &["/bin/sh: 1: jq: not found", "/bin/sh: 22: jq: not found"],
    &["cat: /etc/shadow: Permission denied", "cat: /srv/keys/id_rsa: Permission denied"],
    &["cat: /etc/nothing: No such file or directory"],
    &[
        "cp: error writing '/mnt/backup/a.img': No space left on device",
        "cp: error writing '/mnt/backup/2024/b.img': No space left on device",
    ],
    &["Segmentation fault (core dumped)"],
    &[
        "run.sh: line 8: 31337 Killed                  ./solver --big",
        "run.sh: line 8: 4242 Killed                  ./solver --big",
    ],
    // The network
    &[
        "curl: (7) Failed to connect to localhost port 8080 after 0 ms: Couldn't connect to server",
        "curl: (7) Failed to connect to localhost port 9090 after 12 ms: Couldn't connect to server",
    ],
    &["curl: (6) Could not resolve host: api.example.com"],
    &["curl: (22) The requested URL returned error: 404"],
    &["curl: (22) The requested URL returned error: 503"],
    &[
        "curl: (28) Operation timed out after 30001 milliseconds with 0 bytes received",
        "curl: (28) Operation timed out after 5003 milliseconds with 812 bytes received",
    ],
    &[
        "ssh: connect to host 203.0.113.9 port 22: Connection refused",
        "ssh: connect to host 203.0.113.77 port 2222: Connection refused",
    ],
    &[
        "git@github.com: Permission denied (publickey).",
        "deploy@git.example.org: Permission denied (publickey).",
    ],
    &[
        "fatal: unable to access 'https://github.com/a/b.git/': Could not resolve host: github.com",
        "fatal: unable to access 'https://github.com/c/d.git/': Could not resolve host: github.com",
    ],
    &["fatal: not a git repository (or any of the parent directories): .git"],
    &[
        "error: object file .git/objects/3f/786850e387550fdab836ed7e6dc881de23001b is empty",
        "error: object file .git/objects/89/e6c98d92887913cadf06b2adb97f26cde4849b is empty",
    ],
    &[
        "rsync: [sender] link_stat \"/data/a\" failed: No such file or directory (2)",
        "rsync: [sender] link_stat \"/data/old/b\" failed: No such file or directory (2)",
    ],
    &[
        "rsync error: some files/attrs were not transferred (see previous errors) (code 23) at main.c(1338) [sender=3.2.7]",
        "rsync error: some files/attrs were not transferred (see previous errors) (code 23) at main.c(1207) [sender=3.1.3]",
    ],
    &["rsync error: timeout in data send/receive (code 30) at io.c(204) [sender=3.2.7]"],
    // Databases
    &[
        "psql: error: connection to server at \"db\" (10.0.0.9), port 5432 failed: FATAL:  password authentication failed for user \"app\"",
        "psql: error: connection to server at \"db2\" (10.0.0.10), port 5433 failed: FATAL:  password authentication failed for user \"report\"",
    ],
    &[
        "ERROR:  relation \"orders\" does not exist at character 15",
        "ERROR:  relation \"users_2024\" does not exist at character 77",
    ],
    &[
        "ERROR:  duplicate key value violates unique constraint \"users_pkey\"",
        "ERROR:  duplicate key value violates unique constraint \"orders_pkey\"",
    ],
    &[
        "ERROR 1045 (28000): Access denied for user 'root'@'localhost' (using password: YES)",
        "ERROR 1045 (28000): Access denied for user 'app'@'10.0.0.3' (using password: YES)",
    ],
    &["ERROR 2002 (HY000): Can't connect to local MySQL server through socket '/run/mysqld/mysqld.sock' (2)"],
    &["ORA-00942: table or view does not exist"],
    &["ORA-01017: invalid username/password; logon denied"],
    // Containers and clouds
    &[
        "Error response from daemon: Conflict. The container name \"/web\" is already in use by container \"9f3c2d1e0b7a\".",
        "Error response from daemon: Conflict. The container name \"/db-1\" is already in use by container \"0aa77b12cd34\".",
    ],
    &["Error response from daemon: pull access denied for acme, repository does not exist"],
    &[
        "Error from server (NotFound): pods \"web-7d9f8b6c5-x2x4z\" not found",
        "Error from server (NotFound): pods \"web-5c6b7f9d8-abcde\" not found",
    ],
    &[
        "Error from server (Forbidden): pods is forbidden: User \"ci\" cannot list resource \"pods\" in API group \"\" in the namespace \"prod\"",
    ],
    &[
        "Back-off restarting failed container web in pod web-7d9f8b6c5-x2x4z_default(550e8400-e29b-41d4-a716-446655440000)",
        "Back-off restarting failed container web in pod web-7d9f8b6c5-q8w9e_default(6ba7b810-9dad-11d1-80b4-00c04fd430c8)",
    ],
    &["An error occurred (AccessDenied) when calling the PutObject operation: Access Denied"],
    &[
        "An error occurred (NoSuchBucket) when calling the PutObject operation: The specified bucket does not exist",
    ],
    &[
        "An error occurred (Throttling) when calling the DescribeInstances operation (reached max retries: 4): Rate exceeded",
        "An error occurred (Throttling) when calling the DescribeInstances operation (reached max retries: 10): Rate exceeded",
    ],
    &[
        "Error: creating EC2 Instance: InvalidAMIID.NotFound: The image id '[ami-0abcdef1234567890]' does not exist",
        "Error: creating EC2 Instance: InvalidAMIID.NotFound: The image id '[ami-0fedcba0987654321]' does not exist",
    ],
    &[
        "fatal: [web1.example.com]: UNREACHABLE! => {\"changed\": false, \"msg\": \"Failed to connect to the host via ssh: Connection timed out\", \"unreachable\": true}",
        "fatal: [web2.example.com]: UNREACHABLE! => {\"changed\": false, \"msg\": \"Failed to connect to the host via ssh: Connection timed out\", \"unreachable\": true}",
    ],
    // Services
    &[
        "nginx: [emerg] bind() to 0.0.0.0:80 failed (98: Address already in use)",
        "nginx: [emerg] bind() to 0.0.0.0:8080 failed (98: Address already in use)",
    ],
    &[
        "2024/03/01 12:00:01 [error] 1234#1234: *5678 upstream timed out (110: Connection timed out) while reading response header from upstream",
        "2024/03/09 00:10:59 [error] 88#89: *1 upstream timed out (110: Connection timed out) while reading response header from upstream",
    ],
    &[
        "Mar  1 12:00:01 web systemd[1]: nginx.service: Failed with result 'exit-code'.",
        "Dec 31 23:59:59 web systemd[1]: nginx.service: Failed with result 'exit-code'.",
    ],
    &[
        "140245812348736:error:0A000086:SSL routines:tls_post_process_server_certificate:certificate verify failed:ssl/statem/statem_clnt.c:1889:",
        "139876543210987:error:0A000086:SSL routines:tls_post_process_server_certificate:certificate verify failed:ssl/statem/statem_clnt.c:1890:",
    ],
    &[
        "ERROR: Could not find a version that satisfies the requirement foo==1.2.3 (from versions: none)",
        "ERROR: Could not find a version that satisfies the requirement foo==2.0.0 (from versions: none)",
    ],
    &[
        "{\"level\":\"error\",\"ts\":1709294401.123,\"msg\":\"connect failed\",\"trace\":\"4bf92f3577b34da6a3ce929d0e0e4736\"}",
        "{\"level\":\"error\",\"ts\":1709299999.001,\"msg\":\"connect failed\",\"trace\":\"00f067aa0ba902b74bf92f3577b34da6\"}",
    ],
    &[
        "{\"level\":\"error\",\"ts\":1709294401.123,\"msg\":\"disk is full\",\"trace\":\"4bf92f3577b34da6a3ce929d0e0e4736\"}",
    ],
    // What stands for one value or another
    &[
        "upload of 17 files (12.5 MB) to s3://bucket/2024/03/01 failed after 3m20s",
        "upload of 3 files (870 kB) to s3://bucket/2024/03/02 failed after 45s",
    ],
    &[
        "HTTP/1.1 404 Not Found for https://example.com/a?b=1",
        "HTTP/1.1 404 Not Found for https://example.com/c/d",
    ],
    &["HTTP/1.1 500 Internal Server Error for https://example.com/a?b=1"],
    &[
        "could not open C:\\data\\in\\a.csv: Access is denied.",
        "could not open D:\\archive\\2024\\b.csv: Access is denied.",
    ],
    &[
        "mail to jane.doe@example.com bounced: 550 mailbox unavailable",
        "mail to bob@example.org bounced: 550 mailbox unavailable",
    ],
    &[
        "token eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0 is expired",
        "token eyJhbGciOiJSUzI1NiIsImtpZCI6IjEyMyJ9.eyJzdWIiOiI5ODc2NTQzMjEwIn0 is expired",
    ],
    &["worker-17 lost its lease on job_88123", "worker-3 lost its lease on job_9"],
    &[
        "cannot merge commit 3f78685 into main",
        "cannot merge commit 89e6c98d92887913cadf06b2adb97f26cde4849b into main",
    ],
    &["command exited with exit code 137"],
    &["command exited with exit code 1"],
];

fn of(line: &str) -> String {
    let subject = Subject::Task(TaskId(7));
    let outcome = Some(AttemptOutcome::Exited);
    Traits { subject, outcome, exit_code: Some(1), signal: None, line }.fingerprint()
}

#[test]
fn what_a_person_calls_the_same_fault_has_one_fingerprint_and_no_other_has_it() {
    let mut groups: HashMap<String, usize> = HashMap::new();
    let mut wrong = BTreeMap::new();
    for (number, group) in GROUPS.iter().enumerate() {
        for line in *group {
            let first = *groups.entry(of(line)).or_insert(number);
            if first != number {
                wrong.insert(*line, format!("falls into the group of {:?}", GROUPS[first][0]));
            }
            if of(line) != of(group[0]) {
                wrong.insert(*line, format!("{}\n  not {}", shape(line), shape(group[0])));
            }
        }
    }
    for (line, why) in &wrong {
        println!("{line}\n  {why}");
    }
    let texts: usize = GROUPS.iter().map(|group| group.len()).sum();
    println!("{texts} texts in {} groups, {} wrong", GROUPS.len(), wrong.len());
    assert!(wrong.is_empty());
}

#[test]
fn whose_it_is_and_how_it_ended_tell_failures_apart() {
    let line = "boom";
    let plain = Traits {
        subject: Subject::Task(TaskId(1)),
        outcome: Some(AttemptOutcome::Exited),
        exit_code: Some(1),
        signal: None,
        line,
    };
    let signaled = Some(AttemptOutcome::Signaled);
    let all = [
        plain,
        Traits { subject: Subject::Task(TaskId(2)), ..plain },
        Traits { subject: Subject::Command("task_1"), ..plain },
        Traits { subject: Subject::Subsystem("task_1"), ..plain },
        Traits { outcome: Some(AttemptOutcome::TimedOut), ..plain },
        Traits { outcome: None, ..plain },
        Traits { exit_code: Some(2), ..plain },
        Traits { exit_code: None, ..plain },
        Traits { outcome: signaled, exit_code: None, signal: Some("SIGSEGV"), ..plain },
        Traits { outcome: signaled, exit_code: None, signal: Some("SIGKILL"), ..plain },
        Traits { line: "bang", ..plain },
        Traits { line: "", ..plain },
    ];
    let names: std::collections::HashSet<_> = all.iter().map(Traits::fingerprint).collect();
    assert_eq!(names.len(), all.len());
    // It is written into rows: another version must find the same one.
    assert_eq!(plain.fingerprint(), "07559ab16fc8384f93517471e61380e2");
}

#[test]
fn any_text_has_a_shape_in_linear_time() {
    let hostile = [
        "\"", "'", "`'", "\\\"", "<n>", "1 ", "a1b2", "[", "=", "::", "/", "@a", "2024-", "\u{1b}[",
        "\u{e9}", "-",
    ];
    for piece in hostile {
        for also in hostile {
            let line = format!("{piece}{also}").repeat(2_000);
            assert!(shape(&line).len() <= 400, "{piece:?} {also:?}");
        }
    }
}
