//! Which IP version runs above the tunnel, and which below it.

use std::fmt;

use serde::{Serialize, Serializer};

/// An IP version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// IPv4
    V4,
    /// IPv6
    V6,
}

impl Version {
    /// Length of the header without options, in bytes (RFC 791 section 3.1, RFC 8200 section 3).
    pub const fn header(self) -> u32 {
        match self {
            Self::V4 => 20,
            Self::V6 => 40,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// The IP versions above and below the tunnel: one of the paper's four combinations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum)]
pub enum Stack {
    /// IPv4 over IPv4
    #[value(name = "44")]
    V4OverV4,
    /// IPv4 over IPv6
    #[value(name = "46")]
    V4OverV6,
    /// IPv6 over IPv4
    #[value(name = "64")]
    V6OverV4,
    /// IPv6 over IPv6
    #[value(name = "66")]
    V6OverV6,
}

impl Stack {
    /// All four, in the paper's order.
    pub const ALL: [Self; 4] = [Self::V4OverV4, Self::V4OverV6, Self::V6OverV4, Self::V6OverV6];

    /// The version that applications use, above the tunnel.
    pub const fn inner(self) -> Version {
        match self {
            Self::V4OverV4 | Self::V4OverV6 => Version::V4,
            Self::V6OverV4 | Self::V6OverV6 => Version::V6,
        }
    }

    /// The version of the physical paths, below the tunnel.
    pub const fn outer(self) -> Version {
        match self {
            Self::V4OverV4 | Self::V6OverV4 => Version::V4,
            Self::V4OverV6 | Self::V6OverV6 => Version::V6,
        }
    }
}

impl fmt::Display for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} over {}", self.inner(), self.outer())
    }
}

impl Serialize for Stack {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
