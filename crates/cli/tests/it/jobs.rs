//! Tests how recorded jobs are chosen and listed.

use crate::home::Home;

/// Launches a detached job with `flags`, and returns its ID.
fn detached(home: &Home, flags: &[&str], command: &[&str]) -> String {
    let arguments = [&["run", "-q", "--detach"], flags, command].concat();
    home.run(&arguments).exits(0).stdout.trim().to_owned()
}

#[test]
fn a_name_works_wherever_an_id_does_and_means_the_newest_job() {
    let home = Home::with_processes();
    let first = detached(&home, &["--name", "train"], &["echo", "first"]);
    let second = detached(&home, &["--name", "train"], &["sh", "-c", "echo second; exit 3"]);
    home.run(&["wait", "train"]).exits(3);
    home.run(&["wait", &first]).exits(0);
    assert_eq!(home.run(&["logs", "train"]).exits(0).stdout, "second\n");
    home.run(&["inspect", "train"]).exits(0).says(&[&second]);
    home.run(&["cancel", "train"]).exits(0).says(&["had already ended"]);
    assert_eq!(home.run(&["rm", "train"]).exits(0).stdout.trim(), second);
    assert_eq!(home.run(&["logs", "train"]).exits(0).stdout, "first\n");
    home.run(&["rm", &first]).exits(0);
    home.run(&["logs", "train"]).exits(125).says(&["no job train"]);
}

#[test]
fn ps_shows_commands_and_lists_what_is_asked_for() {
    let home = Home::with_processes();
    let labelled = ["--name", "a", "--label", "team=quay"];
    let ended = detached(&home, &labelled, &["sh", "-c", "exit 4"]);
    home.run(&["wait", &ended]).exits(4);
    let running = detached(&home, &["--name", "b"], &["sleep", "600"]);
    let listed = |arguments: &[&str]| {
        home.run(&[&["ps"], arguments].concat()).exits(0).stdout.trim_end().to_owned()
    };
    assert!(listed(&[]).ends_with("sleep 600"), "{}", listed(&[]));
    let both = format!("{running}\n{ended}");
    assert_eq!(listed(&["-q"]), running);
    assert_eq!(listed(&["-qa"]), both);
    assert_eq!(listed(&["-q", "-n", "1"]), running);
    assert_eq!(listed(&["-q", "-n", "9"]), both);
    for filter in ["name=a", "label=team", "label=team=quay", "state=ended"] {
        assert_eq!(listed(&["-qa", "--filter", filter]), ended, "{filter}");
    }
    assert_eq!(listed(&["-qa", "--filter", "label=team=x"]), "");
    assert_eq!(listed(&["-qa", "--filter", "runner=process"]), both);
    let template = "{{.Name}}\\t{{.Outcome}}\\t{{.Command}}\\t{{.Labels}}";
    let expected = "b\t\tsleep 600\t\na\tExited 4\tsh -c 'exit 4'\tteam=quay";
    assert_eq!(listed(&["-a", "--format", template]), expected);
    let records = listed(&["-a", "--format", "json"]);
    for key in ["\"spec\"", "\"attempts\"", "\"submittedAt\"", "\"state\""] {
        assert!(records.matches(key).count() >= 2, "{key}");
    }
    home.run(&["ps", "--format", "{{.Nmae}}"]).exits(2).says(&["no field `.Nmae`", "Name"]);
    home.run(&["rm", "--force", "a", "b"]).exits(0);
}

#[test]
fn many_jobs_are_waited_for_inspected_and_cancelled_at_once() {
    let home = Home::with_processes();
    let ends = ["exit 0", "exit 5", "exit 6"].map(|end| detached(&home, &[], &["sh", "-c", end]));
    let [zero, five, six] = ends.each_ref().map(String::as_str);
    home.run(&["wait", zero, six, five]).exits(6);
    let records = home.run(&["wait", zero, five, "--output", "json"]).exits(5).stdout;
    assert!(records.contains(zero) && records.contains(five) && !records.contains(six));
    let records = home.run(&["inspect", zero, five]).exits(0).stdout;
    assert!(records.starts_with('[') && records.contains(zero) && records.contains(five));
    home.run(&["logs", zero, "nothing", five]).exits(125).says(&["no job nothing"]);

    let running = [(); 2].map(|()| detached(&home, &[], &["sleep", "600"]));
    home.run(&["wait", "--any", &running[0], five]).exits(5);
    home.run(&["stop", &running[0], zero]).exits(0).says(&["was cancelled", "had already ended"]);
    home.run(&["wait", &running[0]]).exits(143);
    home.run(&["kill", "--all"]).exits(0).says(&["was cancelled"]);
    home.run(&["wait", &running[1]]).exits(137);
    home.run(&["wait", "--all"]).exits(0);
    home.run(&["cancel"]).exits(2).says(&["JOB"]);
    let all = home.run(&["ps", "-qa"]).stdout;
    let all: Vec<&str> = ["rm"].into_iter().chain(all.lines()).collect();
    home.run(&all).exits(0);
}

#[test]
fn the_last_lines_of_the_output_are_printed() {
    let home = Home::with_processes();
    let script = "seq 1 5; echo e >&2; until [ -e go ]; do sleep 0.05; done; seq 6 7";
    let folder = home.path("").display().to_string();
    let id = detached(&home, &["-w", &folder], &["sh", "-c", script]);
    let ended =
        |expected: &str| (0..600).any(|_| home.run(&["logs", &id]).stdout.ends_with(expected));
    assert!(ended("5\n"));
    assert_eq!(home.run(&["logs", "-n", "0", &id]).exits(0).stdout, "");
    let follow = std::thread::scope(|scope| {
        let follow = scope.spawn(|| home.run(&["logs", "--follow", "--tail", "1", &id]));
        home.write("go", "");
        follow.join().expect("it ends")
    });
    assert!(follow.stdout.ends_with("7\n") && !follow.stdout.contains('4'), "{}", follow.stdout);
    home.run(&["wait", &id]).exits(0);
    assert_eq!(home.run(&["logs", "--tail", "3", &id]).exits(0).stdout.lines().last(), Some("7"));
    home.run(&["rm", &id]).exits(0);
}
