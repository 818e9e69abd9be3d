//! `mpt top` on a real terminal, that of tmux: what it shows, keys, sizes, and how it leaves the terminal.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, ensure};
use mpt_lab::host;
use mpt_lab::stack::Stack;
use port_linux::report::State;
use rustix::process::{Pid, Signal, kill_process};

use crate::bench::{self, DIRECTORY, MISCONFIGURED, Mpt, Settings, Tunnel, complains, unchanged, until};
use crate::programs::Tool;

/// A terminal of 80 by 24 with a shell.
struct Screen;

impl Screen {
    fn open() -> anyhow::Result<Self> {
        let screen = Self;
        screen.tmux(&[
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            "80",
            "-y",
            "24",
            "env PS1='ready> ' sh",
        ])?;
        screen.until("a shell", |text| text.contains("ready>"))?;
        Ok(screen)
    }

    fn tmux(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new("tmux");
        command.args(["-u", "-L", "mpt-test"]).args(arguments);
        host::run(command.env("TMUX_TMPDIR", DIRECTORY).env("TERM", "xterm").env_remove("TMUX"))
    }

    fn press(&self, keys: &[&str]) -> anyhow::Result<()> {
        self.tmux(&[&["send-keys"], keys].concat()).map(drop)
    }

    fn text(&self) -> anyhow::Result<String> {
        self.tmux(&["capture-pane", "-p"])
    }

    fn until(&self, wanted: &str, is: impl Fn(&str) -> bool) -> anyhow::Result<()> {
        let seen = until(wanted, || Ok(is(&self.text()?)));
        seen.with_context(|| self.text().unwrap_or_default())
    }

    /// Whether the usual screen and the cursor are shown, and how the terminal takes keys.
    fn settings(&self, file: &str) -> anyhow::Result<(String, String)> {
        let file = format!("{DIRECTORY}/{file}");
        self.press(&[&format!("stty -a > {file}; echo written"), "Enter"])?;
        until("written", || Ok(fs::read_to_string(&file).is_ok_and(|text| text.contains("icanon"))))?;
        let shown = self.tmux(&["display-message", "-p", "#{alternate_on} #{cursor_flag}"])?;
        Ok((shown, fs::read_to_string(&file)?))
    }

    /// Starts it, and waits until it shows something. Its process becomes that of a file, `top.pid`.
    fn start_top(&self, mpt: &Mpt) -> anyhow::Result<()> {
        let (program, control) = (bench::mpt().get_program().to_string_lossy().into_owned(), mpt.control());
        let top =
            format!("echo $$ > {DIRECTORY}/top.pid; exec {program} top --control {}", control.display());
        self.press(&[&format!("sh -c '{top}'; echo it ended: $?"), "Enter"])?;
        self.until("mpt top", |text| text.contains("? help") && text.contains("up "))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.tmux(&["kill-server"]);
    }
}

/// The tunnel is seen, a path is taken out of use and into use again, in any size, also after mpt was away; then it ends by a key or a
/// signal, and the terminal is as it was.
#[test]
fn top_shows_the_tunnel_and_leaves_the_terminal_as_it_was() {
    bench::test(&[Tool::Tmux], || {
        let Tunnel { pc1: mut mpt, pc2: _peer, net } = Tunnel::start(2, Stack::V4OverV4, unchanged)?;
        let names: Vec<String> = mpt.connection()?.paths.into_iter().map(|path| path.name).collect();
        let screen = Screen::open()?;
        screen.press(&["echo as it was", "Enter"])?;
        let before = screen.settings("before")?;
        screen.start_top(&mpt)?;
        screen.until("both paths with their rates", |text| {
            names.iter().all(|name| text.contains(name)) && text.contains("member") && text.contains(" max")
        })?;

        screen.press(&["Down"])?;
        screen.press(&["d"])?;
        screen
            .until("a word of confirmation", |text| text.contains(&format!("{} is out of use", names[1])))?;
        mpt.until_down(2, &["disabled"])?;
        screen.press(&["u"])?;
        mpt.until("back in use", |c| c.paths[1].state == State::Up)?;

        screen.tmux(&["resize-window", "-x", "20", "-y", "6"])?;
        screen.until("less", |text| {
            text.contains(&names[1][..3]) && text.contains("q quit") && !text.contains("member")
        })?;
        screen.tmux(&["resize-window", "-x", "80", "-y", "24"])?;
        screen.until("all of it again", |text| text.contains("member"))?;

        mpt.end(Signal::TERM)?;
        screen.until("that mpt is away", |text| text.contains("mpt is away"))?;
        let mpt = Mpt::start(&net.pc1, &Settings::new(mpt_lab::topology::Side::Pc1, Stack::V4OverV4, 2))?;
        screen.until("mpt again", |text| !text.contains("mpt is away") && text.contains("member"))?;

        screen.press(&["q"])?;
        screen.until("the shell", |text| text.contains("it ended: 0") && text.contains("as it was"))?;
        ensure!(
            screen.settings("after")? == before,
            "{before:?}, and after it {:?}",
            screen.settings("after")?
        );

        screen.press(&["clear", "Enter"])?;
        screen.start_top(&mpt)?;
        let pid = fs::read_to_string(format!("{DIRECTORY}/top.pid"))?.trim().parse()?;
        kill_process(Pid::from_raw(pid).context("a process")?, Signal::TERM)?;
        screen.until("the shell", |text| text.contains("it ended: 0"))?;
        ensure!(screen.settings("terminated")? == before, "{before:?}");

        let control = format!("top --control {}", mpt.control().display());
        let message = complains(&net.pc1, &control, "", MISCONFIGURED)?;
        ensure!(message.contains("standard output is no terminal"), "{message}");
        Ok(())
    });
}
