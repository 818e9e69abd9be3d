use std::fs;
use std::path::{Path, PathBuf};

use mpt_proto::Instant;

use super::*;
use crate::events::{Journal, What};

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A shell script in a directory of its own, where it may leave files.
struct Script {
    directory: tempfile::TempDir,
    program: PathBuf,
}

impl Script {
    fn new(lines: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("hook");
        fs::write(&program, format!("cd {}\n{lines}\n", directory.path().display())).unwrap();
        Self { directory, program }
    }

    fn hook(&self, on: &[&'static str], timeout: Duration) -> Hook {
        let run = vec!["/bin/sh".into(), self.program.display().to_string(), "one argument".into()];
        Hook { on: on.to_vec(), run, timeout }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

fn hooks(wanted: &[Hook]) -> Hooks {
    Hooks::new(Wanted::new(wanted), Clock::start(), "mpt0")
}

fn event(number: u64) -> Event {
    let mut journal = Journal::new(None);
    let down = What::PathDown { reason: "silent".into(), why: "silent for 300 ms".into() };
    journal.note(Instant::ZERO, Some("vps"), Some("lte"), down);
    Event { number, ..journal.kept().next().unwrap().clone() }
}

fn until(wanted: &str, is: impl Fn() -> bool) {
    let clock = Clock::start();
    while !is() {
        assert!(clock.now() < Instant::ZERO + PATIENCE, "never {wanted}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn is_idle(hooks: &Hooks) -> bool {
    let state = lock(&hooks.pool.state);
    state.running.is_empty() && state.waiting.is_empty()
}

fn is_alive(pid: &str) -> bool {
    // A zombie is none.
    let status = fs::read_to_string(Path::new("/proc").join(pid.trim()).join("status"));
    status.is_ok_and(|status| !status.contains("State:\tZ"))
}

#[test]
fn a_program_reads_the_event_and_has_a_clean_environment() {
    let script = Script::new(
        "cat > input; echo \"$1 $#\" > arguments; env > environment.new; mv environment.new environment",
    );
    let mut hooks = hooks(&[script.hook(&["path_down"], PATIENCE)]);
    hooks.handle_event(&event(7));
    until("run", || script.file("environment").exists());
    let input: serde_json::Value = serde_json::from_slice(&fs::read(script.file("input")).unwrap()).unwrap();
    assert_eq!((&input["version"], &input["number"]), (&1.into(), &7.into()));
    assert_eq!((&input["event"], &input["tunnel"]), (&"path_down".into(), &"mpt0".into()));
    assert_eq!((&input["connection"], &input["path"]), (&"vps".into(), &"lte".into()));
    assert_eq!((&input["reason"], &input["level"]), (&"silent".into(), &"warning".into()));
    assert_eq!(input["text"], "path lte of vps is down: silent for 300 ms");
    assert!(!input["host"].as_str().unwrap().is_empty());
    assert_eq!(fs::read_to_string(script.file("arguments")).unwrap(), "one argument 1\n");
    let environment = fs::read_to_string(script.file("environment")).unwrap();
    assert!(environment.contains("MPT_EVENT=path_down\n") && environment.contains("MPT_TUNNEL=mpt0\n"));
    assert!(!environment.contains("HOME=") && !environment.contains("CARGO"), "{environment}");
}

#[test]
fn a_hook_is_run_for_its_events_alone_and_a_reload_changes_them() {
    let script = Script::new("cat >> input");
    let wanted = Wanted::new(&[script.hook(&["peer_up"], PATIENCE)]);
    let mut hooks = Hooks::new(wanted.clone(), Clock::start(), "mpt0");
    hooks.handle_event(&event(1));
    assert!(is_idle(&hooks));
    wanted.set(&[script.hook(&[], PATIENCE)]);
    hooks.handle_event(&event(2));
    until("run", || is_idle(&hooks));
    assert!(fs::read_to_string(script.file("input")).unwrap().contains("\"number\":2,"));
}

#[test]
fn one_hook_gets_its_events_in_their_order_one_at_a_time() {
    let script = Script::new("mkdir alone || echo twice >> order; cat >> order; sleep 0.01; rmdir alone");
    let mut hooks = hooks(&[script.hook(&[], PATIENCE)]);
    (0..10).for_each(|number| hooks.handle_event(&event(number)));
    until("all were run", || is_idle(&hooks));
    let order = fs::read_to_string(script.file("order")).unwrap();
    let numbers: Vec<u64> = order
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["number"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, (0..10).collect::<Vec<_>>());
}

#[test]
fn a_program_that_hangs_is_killed_with_what_it_started_and_others_run_meanwhile() {
    let hanging = Script::new("sleep 1000 & echo $! > child.new; mv child.new child; wait");
    let quick = Script::new("touch done");
    let mut hooks = hooks(&[hanging.hook(&[], Duration::from_secs(1)), quick.hook(&[], PATIENCE)]);
    hooks.handle_event(&event(1));
    until("the quick one ran", || quick.file("done").exists());
    until("the other one began", || hanging.file("child").exists());
    let child = fs::read_to_string(hanging.file("child")).unwrap();
    until("it was killed", || is_idle(&hooks));
    until("its child was killed", || !is_alive(&child));
}

#[test]
fn programs_are_few_and_so_is_what_waits_for_them() {
    let script = Script::new("exec sleep 1000");
    let many: Vec<Hook> = (1..=9).map(|at| script.hook(&[], PATIENCE + Duration::from_secs(at))).collect();
    let mut hooks = hooks(&many);
    (0..20).for_each(|number| hooks.handle_event(&event(number)));
    {
        let state = lock(&hooks.pool.state);
        assert_eq!(state.running.len(), AT_ONCE);
        assert_eq!(state.waiting.len(), WAITING);
        assert_eq!(state.left_out, (20 * 9 - AT_ONCE - WAITING) as u64);
        let last = state.waiting.back().map(|job| job.input.contains("\"number\":19"));
        assert_eq!(last, Some(true), "the last event is not the one that is left out");
    }
    hooks.end();
    until("all were killed", || lock(&hooks.pool.state).running.is_empty());
}

#[test]
fn a_program_that_says_much_fails_or_is_gone_is_no_trouble() {
    let clock = Clock::start();
    let run = |script: &Script, timeout: u64| {
        let run = ["/bin/sh".to_owned(), script.program.display().to_string()];
        Child::start(&run, Start { input: "input\n", ..Start::default() })
            .map(|mut it| it.wait(clock, Duration::from_millis(timeout), || false))
    };
    let flooding = Script::new("while :; do echo much >&2; echo much; done");
    assert_eq!(run(&flooding, 300).unwrap(), Ending::TooLong);
    let failing = Script::new("head -c 100000 /dev/zero >&2; echo no network >&2; exit 3");
    let Ending::Bad { status, said } = run(&failing, 20_000).unwrap() else { panic!("it failed") };
    assert_eq!(status.code(), Some(3));
    assert!(said.starts_with(": ") && said.ends_with("no network"), "{said}");
    assert!(Child::start(&["/nonexistent/hook".to_owned()], Start::default()).is_err());
    let deaf = Script::new("exec <&-; exit 0");
    assert_eq!(run(&deaf, 20_000).unwrap(), Ending::Good);
}
