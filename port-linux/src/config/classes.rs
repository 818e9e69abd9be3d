//! Classes: rules for how packets travel, each with something that it fits.

use mpt_proto::{ClassRule, ClassRules, MAX_CLASS_RULES, Travel};
use toml::Spanned;

use super::Path;
use super::error::{ConfigError, Source};
use super::file;
use super::value::{Name, Table, Text, TravelName};

/// Per cent of what a connection sends that copies of protected packets may be, unless `overhead` says otherwise.
const COPIES: u8 = 15;

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
        if let Some(share) = class.overhead.as_ref().filter(|_| word != Some(TravelName::Protected)) {
            let problem = "there are no copies that it could bound";
            return Err(source.error(&share.span(), problem, "with `travel = \"protected\"` only"));
        }
        let travel = match (word, &class.path) {
            (Some(TravelName::Protected), None) => {
                Travel::Protected(class.overhead.as_ref().map_or(COPIES, |share| share.get_ref().0))
            }
            (Some(TravelName::Ordered), None) => Travel::Ordered,
            (Some(TravelName::Sparse), None) => Travel::Sparse,
            (None, Some(path)) => Travel::Path(place(path, paths, source)?),
            (Some(_), Some(path)) => {
                let problem = "a path by itself, and how packets travel over all of them";
                return Err(source.error(&path.span(), problem, "one of `travel` and `path`"));
            }
            (None, None) => {
                return Err(source.error(
                    &at,
                    "nothing is said of its packets",
                    "one of `travel` and `path`",
                ));
            }
        };
        let rule = ClassRule {
            protocol: class.protocol.map(|protocol| protocol.0.0),
            ports: class.ports.map(|ports| ports.0.0),
            dscp: class.dscp.map(|dscp| dscp.0),
            network: class.network.map(|network| (network.0.0.network(), network.0.0.prefix_len())),
            travel,
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
