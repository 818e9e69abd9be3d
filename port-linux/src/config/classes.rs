//! Classes: rules for how packets travel, each with something that it fits.

use mpt_proto::{ClassRule, ClassRules, MAX_CLASS_RULES, Travel};
use toml::Spanned;

use super::error::{ConfigError, Source};
use super::file;
use super::value::{Table, TravelName};

/// Per cent of what a connection sends that copies of protected packets may be, unless `overhead` says otherwise.
const COPIES: u8 = 15;

/// The rules of a connection, in the order of the file.
pub(super) fn class_rules(
    tables: Vec<Spanned<Table<file::Class>>>,
    source: &Source,
) -> Result<ClassRules, ConfigError> {
    let mut rules = ClassRules::new();
    for table in tables {
        let at = table.span();
        let class = table.into_inner().0;
        let travel = match (class.travel.0, &class.overhead) {
            (TravelName::Protected, share) => {
                Travel::Protected(share.as_ref().map_or(COPIES, |share| share.get_ref().0))
            }
            (_, Some(share)) => {
                let problem = "there are no copies that it could bound";
                return Err(source.error(&share.span(), problem, "with `travel = \"protected\"` only"));
            }
            (TravelName::Ordered, None) => Travel::Ordered,
            (TravelName::Sparse, None) => Travel::Sparse,
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
