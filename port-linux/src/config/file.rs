//! What may stand in the file: one struct per table. The fields' types check each value by itself.

use serde::Deserialize;
use toml::Spanned;

use super::data::DataTable;
use super::forward::{ForwardPorts, Protocols, Target};
use super::gateway::{Exception, Share};
use super::hook::{Argument, EventName};
use super::metrics::LoopbackAddress;
use super::portal::{CheckUrl, PortalAnswer};
use super::rate::Rate;
use super::size::Size;
use super::tier::TierSetting;
use super::value::{
    Address, AllowedIp, AutoWord, FileName, Host, InterfaceName, InterfacePattern, ListenAddress,
    LivenessSetting, Local, Name, PolicyName, Port, PortRange, Prefix, ProtocolName, PublicKeyText, Remote,
    SecuritySetting, Table, Text, TravelName, TunnelMtu, Whole,
};

/// The file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) security: Option<Spanned<SecuritySetting>>,
    pub(super) tunnel: Table<Tunnel>,
    pub(super) listen: Option<Spanned<Table<Listen>>>,
    pub(super) metrics: Option<Spanned<Table<Metrics>>>,
    pub(super) portal: Option<Table<Portal>>,
    #[serde(default)]
    pub(super) forward: Vec<Spanned<Table<Forward>>>,
    #[serde(default)]
    pub(super) hook: Vec<Spanned<Table<Hook>>>,
    #[serde(default)]
    pub(super) connection: Vec<Spanned<Table<Connection>>>,
}

/// `[listen]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listen {
    pub(super) local: Option<Spanned<Vec<Spanned<Text<ListenAddress>>>>>,
    pub(super) port: Option<Spanned<Port>>,
    #[serde(default)]
    pub(super) endpoints: Vec<Text<Remote>>,
    pub(super) peers: Spanned<Text<FileName>>,
    pub(super) memory_mb: Option<Whole<usize, 1, 1024>>,
    pub(super) uplink: Option<Text<Rate>>,
    pub(super) downlink: Option<Text<Rate>>,
}

/// `[metrics]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Metrics {
    pub(super) socket: Option<bool>,
    pub(super) listen: Option<Text<LoopbackAddress>>,
}

/// `[portal]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Portal {
    pub(super) check: Option<bool>,
    pub(super) url: Option<Text<CheckUrl>>,
    pub(super) answer: Option<PortalAnswer>,
}

/// A file of the directory that `listen.peers` names.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Peer {
    pub(super) public_key: Spanned<Text<PublicKeyText>>,
    pub(super) preshared_key_file: Option<Spanned<Text<FileName>>>,
    pub(super) allowed_ips: Spanned<Vec<Spanned<Text<AllowedIp>>>>,
    pub(super) limit: Option<Text<Rate>>,
    #[serde(default)]
    pub(super) forward: Vec<Spanned<Table<Forward>>>,
}

/// `[[forward]]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Forward {
    pub(super) proto: Protocols,
    pub(super) port: Spanned<ForwardPorts>,
    pub(super) to: Option<Spanned<Target>>,
    pub(super) address: Option<Spanned<Text<Host>>>,
}

/// `[[hook]]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Hook {
    #[serde(default)]
    pub(super) on: Vec<Text<EventName>>,
    pub(super) run: Spanned<Vec<Spanned<Text<Argument>>>>,
    pub(super) timeout: Option<Whole<u16, 1, 300>>,
}

/// `[tunnel]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tunnel {
    pub(super) name: Option<Text<InterfaceName>>,
    pub(super) address: Spanned<Vec<Spanned<Text<Address>>>>,
    pub(super) mtu: Option<Spanned<TunnelMtu>>,
    pub(super) queue: Option<Whole<u32, 1, 1_000_000>>,
    pub(super) offload: Option<bool>,
    pub(super) history: Option<bool>,
    pub(super) kill_switch: Option<Spanned<bool>>,
    #[serde(default)]
    pub(super) share: Vec<Spanned<Text<Share>>>,
    pub(super) masquerade: Option<bool>,
    #[serde(default)]
    pub(super) dns: Vec<Spanned<Text<Host>>>,
    #[serde(default)]
    pub(super) direct: Vec<Spanned<Text<Exception>>>,
    pub(super) responder: Option<bool>,
}

/// `[[connection]]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Connection {
    pub(super) name: Spanned<Text<Name>>,
    pub(super) peer: Spanned<Vec<Spanned<Text<Host>>>>,
    pub(super) public_key: Option<Spanned<Text<PublicKeyText>>>,
    pub(super) preshared_key_file: Option<Spanned<Text<FileName>>>,
    #[serde(default)]
    pub(super) network: Vec<Spanned<Table<Network>>>,
    pub(super) port: Option<Spanned<Port>>,
    pub(super) remote_port: Option<Spanned<Port>>,
    pub(super) check_source_port: Option<bool>,
    pub(super) policy: Option<Text<PolicyName>>,
    pub(super) key: Option<Spanned<Whole<u32, 0, { u32::MAX }>>>,
    pub(super) checksum: Option<Spanned<bool>>,
    pub(super) sequence: Option<Spanned<bool>>,
    pub(super) slices: Option<bool>,
    pub(super) multicast: Option<Spanned<bool>>,
    pub(super) limit: Option<Text<Rate>>,
    pub(super) record: Option<Text<Size>>,
    pub(super) liveness: Option<LivenessSetting>,
    pub(super) adaptive: Option<Spanned<Table<Adaptive>>>,
    pub(super) reorder: Option<Table<Reorder>>,
    #[serde(default)]
    pub(super) class: Vec<Spanned<Table<Class>>>,
    pub(super) standby_of: Option<Spanned<Text<Name>>>,
    pub(super) standby_after_s: Option<Spanned<Whole<u16, 1, 3600>>>,
    pub(super) standby_back_s: Option<Spanned<Whole<u32, 0, 86_400>>>,
    pub(super) paths: Option<Spanned<Text<AutoWord>>>,
    pub(super) except: Option<Spanned<Vec<Text<InterfacePattern>>>>,
    pub(super) remote: Option<Spanned<Vec<Spanned<Text<Remote>>>>>,
    #[serde(default)]
    pub(super) path: Vec<Spanned<Table<Path>>>,
}

/// `[[connection.class]]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Class {
    pub(super) travel: Option<Spanned<Text<TravelName>>>,
    pub(super) path: Option<Spanned<Text<Name>>>,
    pub(super) overhead: Option<Spanned<Whole<u8, 1, 100>>>,
    pub(super) deadline_ms: Option<Spanned<Whole<u16, 10, 1000>>>,
    pub(super) tier: Option<Spanned<Whole<u8, 1, 8>>>,
    pub(super) protocol: Option<Text<ProtocolName>>,
    pub(super) ports: Option<Text<PortRange>>,
    pub(super) dscp: Option<Whole<u8, 0, 63>>,
    pub(super) network: Option<Text<Prefix>>,
}

/// `[connection.adaptive]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Adaptive {
    pub(super) resend: Option<bool>,
    pub(super) udp_in_order: Option<bool>,
    pub(super) memory_mb: Option<Whole<usize, 1, 1024>>,
}

/// `[connection.reorder]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reorder {
    pub(super) window: Option<Spanned<Whole<u16, 0, 65_535>>>,
    pub(super) delay_ms: Option<Whole<u16, 1, 10_000>>,
    pub(super) paths_in_order: Option<bool>,
}

/// `[[connection.network]]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Network {
    pub(super) to: Spanned<Text<Prefix>>,
    pub(super) from: Option<Spanned<Text<Prefix>>>,
}

/// `[[connection.path]]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Path {
    pub(super) name: Spanned<Text<Name>>,
    pub(super) local: Spanned<Text<Local>>,
    pub(super) remote: Spanned<Text<Remote>>,
    pub(super) device: Option<Text<InterfaceName>>,
    pub(super) gateway: Option<Spanned<Text<Host>>>,
    pub(super) port: Option<Spanned<Port>>,
    pub(super) remote_port: Option<Spanned<Port>>,
    pub(super) roaming: Option<Spanned<bool>>,
    pub(super) weight: Option<Spanned<Whole<u16, 1, 10_000>>>,
    pub(super) rank: Option<Spanned<Whole<u8, 0, 255>>>,
    pub(super) tier: Option<Spanned<TierSetting>>,
    pub(super) mtu: Option<Spanned<Whole<u16, 576, 65_535>>>,
    pub(super) data: Option<Spanned<Table<DataTable>>>,
    pub(super) portal_check: Option<bool>,
    pub(super) liveness: Option<LivenessSetting>,
    pub(super) enabled: Option<bool>,
    #[serde(default)]
    pub(super) tcp_dst: Vec<Spanned<Port>>,
    #[serde(default)]
    pub(super) tcp_src: Vec<Spanned<Port>>,
    #[serde(default)]
    pub(super) udp_dst: Vec<Spanned<Port>>,
    #[serde(default)]
    pub(super) udp_src: Vec<Spanned<Port>>,
}
