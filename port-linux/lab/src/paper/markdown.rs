//! The medians as Markdown tables.

use std::fmt::Write as _;

use super::Results;
use super::plan::{System, Work};
use super::record::Group;
use crate::cpu;
use crate::report::percent;

/// All tables, with a line on the machine.
pub(super) fn tables(results: &Results) -> String {
    let plan = &results.plan;
    let mut text = format!(
        "{}; {} links of {}{}; medians of {} (least to most).\n",
        results.machine,
        plan.links,
        plan.rate.spoken(),
        if plan.gso { "" } else { " that take single packets" },
        plan.repeats
    );
    let of = |work| results.summary.iter().filter(move |group| group.job.work == work);
    let seconds = plan.seconds;
    table(&mut text, &format!("TCP for {seconds} s, without the first second"), of(Work::Stream));
    table(&mut text, &format!("{} bytes by the built-in generator", plan.size), of(Work::Download));
    table(&mut text, &format!("{} bytes by FTP (vsftpd and curl)", plan.size), of(Work::Ftp));
    text.push_str(
        "\nShare: of the arithmetic limit of that system, which is the links' rate less all headers. ",
    );
    let _ = writeln!(text, "{}", cpu::note(results.background_percent));
    text
}

fn table<'a>(text: &mut String, title: &str, groups: impl Iterator<Item = &'a Group>) {
    let mut groups: Vec<&Group> = groups.collect();
    if groups.is_empty() {
        return;
    }
    groups.sort_by_key(|group| (group.job.system, group.job.paths));
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "\n## {title}\n\n\
         | system | paths | goodput, Mbit/s | share | to MPTCP | seconds | CPU s/GB | CPU busy |\n\
         |---|---|---|---|---|---|---|---|\n"
    );
    for group in &groups {
        let goodput = group.goodput_mbit_s;
        let _ = writeln!(
            text,
            "| {} | {} | {:.1} ({:.1} to {:.1}) | {} | {} | {:.2} | {:.2} | {:.1} % |",
            group.job.system,
            group.job.paths,
            goodput.median,
            goodput.min,
            goodput.max,
            percent(goodput.median, group.limit_mbit_s),
            to_mptcp(group, &groups),
            group.seconds.median,
            group.cpu_s_per_gb.median,
            group.cpu_percent.median
        );
    }
}

/// A tunnel's goodput beside that of MPTCP over the same paths.
fn to_mptcp(group: &Group, groups: &[&Group]) -> String {
    let System::Tunnel(stack) = group.job.system else { return String::new() };
    let system = System::Mptcp(stack.outer());
    let other = groups.iter().find(|other| other.job.system == system && other.job.paths == group.job.paths);
    other.map_or(String::new(), |other| percent(group.goodput_mbit_s.median, other.goodput_mbit_s.median))
}
