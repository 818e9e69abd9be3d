//! Links by name.

/// A link by name, to be used in the place of its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preset {
    /// What it is called.
    pub name: &'static str,
    /// What it stands for.
    pub text: &'static str,
    /// Where its numbers come from.
    pub source: &'static str,
}

/// A set of links by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    /// What it is called.
    pub name: &'static str,
    /// Its links, separated by commas.
    pub links: &'static str,
}

const PRESETS: [Preset; 10] = [
    Preset {
        name: "dsl",
        text: "16mbit 15ms 1ms back 2mbit",
        source: "ADSL2+ with interleaving; all numbers chosen",
    },
    Preset {
        name: "cable",
        text: "100mbit 8ms 1ms back 10mbit batch 2ms",
        source: "DOCSIS: upstream packets wait for a grant, whose cycle is some 2 ms; the rest is chosen",
    },
    Preset {
        name: "fibre",
        text: "300mbit 8ms back 100mbit",
        source: "rate and delay of mqvpn's profile \"fibre + LTE\"; the way back is chosen",
    },
    Preset {
        name: "lte",
        text: "40mbit 35ms wander 8ms each 10ms 0.5% back 10mbit batch 8ms",
        source: "rate, delay and wander of mqvpn's profiles with LTE; 8 ms is LTE's HARQ round trip; the way back is chosen",
    },
    Preset {
        name: "lte-driving",
        text: "20mbit 45ms breathe 60% wander 12ms each 50ms heavy smooth 0.5% step 15ms each 20s \
               dip 100ms-400ms each 20s back 6mbit batch 8ms",
        source: "a handover each 20 s; all numbers chosen",
    },
    Preset {
        name: "5g",
        text: "80mbit 20ms wander 4ms each 10ms 0.1% back 20mbit batch 5ms",
        source: "mid-band 5G in everyday use; all numbers chosen",
    },
    Preset {
        name: "starlink",
        text: "150mbit 25ms wander 4ms each 10ms 1% step 8ms each 15s dip 100ms-300ms each 15s back 15mbit",
        source: "satellites are assigned anew each 15 s, which published measurements agree on; rates, losses and \
                 lengths of the dips are chosen",
    },
    Preset {
        name: "geo",
        text: "20mbit 320ms wander 20ms each 50ms 0.5% back 3mbit batch 20ms",
        source: "the way to 35,786 km and down takes 240 to 280 ms; rate, delay, wander and loss of mqvpn's profile \
                 \"LTE + GEO\"; the way back is chosen",
    },
    Preset {
        name: "wifi",
        text: "100mbit 3ms wander 2ms each 5ms heavy 0.1% batch 4ms back 60mbit",
        source: "a frame of IEEE 802.11n and later lasts up to 5.5 ms, and all in it arrives at once; the rest is chosen",
    },
    Preset {
        name: "train",
        text: "15mbit 50ms breathe 80% wander 20ms each 100ms heavy smooth 1% burst 5 step 30ms each 30s \
               dip 300ms-2s each 30s back 5mbit batch 8ms",
        source: "a shared mobile link with a change of cell each 30 s; all numbers chosen",
    },
];

/// All presets.
pub const fn presets() -> &'static [Preset] {
    &PRESETS
}

/// The preset of a name.
pub(crate) fn preset(name: &str) -> Option<&'static Preset> {
    PRESETS.iter().find(|preset| preset.name == name)
}

const PROFILES: [Profile; 16] = [
    Profile { name: "20/20 ms", links: "50mbit 20ms, 50mbit 20ms" },
    Profile { name: "20/40 ms", links: "50mbit 20ms, 50mbit 40ms" },
    Profile { name: "20/70 ms", links: "50mbit 20ms, 50mbit 70ms" },
    Profile { name: "20/120 ms", links: "50mbit 20ms, 50mbit 120ms" },
    Profile { name: "20/320 ms", links: "50mbit 20ms, 50mbit 320ms" },
    Profile {
        name: "wander 5 ms",
        links: "50mbit 20ms wander 5ms each 10ms, 50mbit 20ms wander 5ms each 10ms",
    },
    Profile {
        name: "wander 20 ms",
        links: "50mbit 20ms wander 20ms each 10ms, 50mbit 20ms wander 20ms each 10ms",
    },
    Profile { name: "loss 0.5 %", links: "50mbit 20ms 0.5%, 50mbit 20ms 0.5%" },
    Profile { name: "loss 2 %", links: "50mbit 20ms 2%, 50mbit 20ms 2%" },
    Profile { name: "50:12 Mbit/s", links: "50mbit 20ms, 12mbit 20ms" },
    Profile { name: "100:10 Mbit/s", links: "100mbit 20ms, 10mbit 20ms" },
    Profile {
        name: "two LTE",
        links: "40mbit 30ms wander 5ms each 10ms 0.5%, 25mbit 45ms wander 8ms each 10ms 0.5%",
    },
    Profile { name: "fibre + LTE", links: "300mbit 8ms, 30mbit 40ms wander 8ms each 10ms 0.5%" },
    Profile {
        name: "LTE + Starlink",
        links: "40mbit 35ms wander 8ms each 10ms, 100mbit 50ms wander 25ms each 10ms 1%",
    },
    Profile { name: "LTE + GEO", links: "40mbit 35ms, 20mbit 320ms wander 20ms each 10ms 0.5%" },
    Profile {
        name: "congested",
        links: "20mbit 50ms wander 20ms each 10ms 2%, 15mbit 60ms wander 25ms each 10ms 2%",
    },
];

/// The profiles that the benchmarks of mqvpn (github.com/mp0rta/mqvpn) are made of: rates, one-way delays, deviations of
/// the delay and losses, the same in both directions. How long a delay stays at a value is not theirs but chosen: 10 ms.
pub const fn profiles() -> &'static [Profile] {
    &PROFILES
}
