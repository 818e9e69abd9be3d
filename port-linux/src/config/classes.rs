//! Classes: rules for how packets travel, each with something that it fits.

use std::ops::Range;

use mpt_proto::{ClassRule, ClassRules, MAX_CLASS_RULES, Travel};
use toml::Spanned;

use super::Path;
use super::error::{ConfigError, Source};
use super::file;
use super::value::{Name, Table, Text, TravelName};

/// Per cent of what a connection sends that copies of protected packets may be, unless `overhead` says otherwise.
const COPIES: u8 = 15;

/// Tiers of classes that make no difference among these paths: where they stand, and why they do not.
pub(super) fn warn_of_tiers(
    tables: &[Spanned<Table<file::Class>>],
    paths: &[Path],
) -> impl Iterator<Item = (Range<usize>, &'static str)> {
    tables.iter().filter_map(|table| table.get_ref().0.tier.as_ref()).filter_map(|tier| {
        let takes = |path: &Path| path.tier.all().any(|it| it <= tier.get_ref().0);
        let leaves = |path: &Path| path.tier.all().any(|it| it > tier.get_ref().0);
        let problem = match (paths.iter().any(takes), paths.iter().any(leaves)) {
            (true, true) => return None,
            (false, _) => "no path is ever of this tier or a lower one: the class takes all paths",
            (true, false) => "every path is always of this tier or a lower one: the class takes all paths",
        };
        Some((tier.span(), problem))
    })
}

/// The rules of a connection with these paths, in the order of the file.
pub(super) fn class_rules(
    tables: Vec<Spanned<Table<file::Class>>>,
    paths: &[Path],
    source: &Source,
) -> Result<ClassRules, ConfigError> {
    let mut rules = ClassRules::new();
    for table in tables {
        let at = table.span();
        let class = table.into_inner().0;
        let word = class.travel.as_ref().map(|travel| travel.get_ref().0);
        let is_protected = word == Some(TravelName::Protected);
        let overhead =
            class.overhead.as_ref().map(|share| (share.span(), "there are no copies that it could bound"));
        let deadline =
            class.deadline_ms.as_ref().map(|time| (time.span(), "there are no copies that could make it"));
        if let Some((at, problem)) = overhead.or(deadline).filter(|_| !is_protected) {
            return Err(source.error(&at, problem, "with `travel = \"protected\"` only"));
        }
        let share = class.overhead.as_ref().map_or(COPIES, |share| share.get_ref().0);
        let travel = match (word, &class.path) {
            (Some(TravelName::Protected), None) => match &class.deadline_ms {
                Some(deadline) => Travel::Timely { share, deadline: deadline.get_ref().0 },
                None => Travel::Protected(share),
            },
            (Some(TravelName::Ordered), None) => Travel::Ordered,
            (Some(TravelName::Sparse), None) => Travel::Sparse,
            (None, Some(path)) => Travel::Path(place(path, paths, source)?),
            (Some(_), Some(path)) => {
                let problem = "a path by itself, and how packets travel over all of them";
                return Err(source.error(&path.span(), problem, "one of `travel` and `path`"));
            }
            (None, None) if class.tier.is_some() => Travel::Usual,
            (None, None) => {
                let allowed = "one of `travel` and `path`, or `tier`";
                return Err(source.error(&at, "nothing is said of its packets", allowed));
            }
        };
        if let Some(tier) = class.tier.as_ref().filter(|_| class.path.is_some()) {
            let problem = "a path by itself, and a tier of paths";
            return Err(source.error(&tier.span(), problem, "one of `tier` and `path`"));
        }
        let rule = ClassRule {
            protocol: class.protocol.map(|protocol| protocol.0.0),
            ports: class.ports.map(|ports| ports.0.0),
            dscp: class.dscp.map(|dscp| dscp.0),
            network: class.network.map(|network| (network.0.0.network(), network.0.0.prefix_len())),
            travel,
            tier: class.tier.map(|tier| tier.get_ref().0),
        };
        let ClassRule { protocol, ports, dscp, network, .. } = rule;
        if protocol.is_none() && ports.is_none() && dscp.is_none() && network.is_none() {
            let allowed = "one at least of the keys `protocol`, `ports`, `dscp` and `network`";
            return Err(source.error(&at, "a class that every packet fits", allowed));
        }
        if rules.push(rule).is_err() {
            let allowed = format!("{MAX_CLASS_RULES} tables [[connection.class]] at most");
            return Err(source.error(&at, "one class too many in this connection", &allowed));
        }
    }
    Ok(rules)
}

/// The place of a path among those of the connection.
fn place(name: &Spanned<Text<Name>>, paths: &[Path], source: &Source) -> Result<u8, ConfigError> {
    let wanted = &name.get_ref().0.0;
    let found = paths.iter().position(|path| path.name == *wanted);
    found.and_then(|place| u8::try_from(place).ok()).ok_or_else(|| {
        let names: Vec<String> = paths.iter().map(|path| format!("\"{}\"", path.name)).collect();
        let allowed = if names.is_empty() {
            "the name of a [[connection.path]]; there is none in this connection".to_owned()
        } else {
            format!("the name of a [[connection.path]] of this connection: {}", names.join(", "))
        };
        source.error(&name.span(), "there is no such path", &allowed)
    })
}
