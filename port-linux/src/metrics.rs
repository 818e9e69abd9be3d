//! What a tunnel counts and measures in the forms that collectors of metrics read: [`OpenMetrics`](https://prometheus.io/docs/specs/om/),
//! and the older text of Prometheus, which node_exporter's textfile collector and promtool want.
//!
//! Names, units and help texts are those of [`counters`](crate::counters).

mod exporter;
mod request;

pub use exporter::Exporter;

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, prometheus_text, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit as MetricUnit};

use crate::counters::{CONNECTION, Figure, Kind, PATH, TUNNEL, Unit};
use crate::report::{ConnectionReport, PathReport, Report};
use crate::status::only;
use crate::{control, output};

/// A form of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `OpenMetrics` 1.0.
    OpenMetrics,
    /// The text of Prometheus, version 0.0.4.
    Prometheus,
}

impl Format {
    /// For the header `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => prometheus_text::CONTENT_TYPE,
        }
    }
}

/// Runs `mpt metrics`.
///
/// # Errors
/// When no daemon answers, or it has no connection of that name.
pub fn metrics(name: Option<&str>, socket: Option<&Path>) -> Result<()> {
    let report = only(control::report(socket)?, name)?;
    output::print(&write(Arc::new(report), Format::Prometheus)?).map(drop)
}

/// The metrics of a report.
///
/// # Errors
/// Never, as a text takes everything.
pub fn write(report: Arc<Report>, format: Format) -> Result<String> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Snapshot(report)));
    let mut out = String::new();
    match format {
        Format::OpenMetrics => text::encode(&mut out, &registry)?,
        Format::Prometheus => prometheus_text::encode(&mut out, &registry)?,
    }
    Ok(out)
}

/// The name of a figure's metric, where `place` is what it is of: `tunnel`, `connection` or `path`.
#[cfg(test)]
pub(crate) fn metric_name<R>(place: &str, figure: &Figure<R>) -> String {
    let unit = figure.unit.of_metric().map_or(String::new(), |unit| format!("_{unit}"));
    let total = if figure.kind == Kind::Counter { "_total" } else { "" };
    format!("mpt_{place}_{}{unit}{total}", figure.metric)
}

/// A label and its value.
type Label<'r> = (&'static str, &'r str);

/// What all samples of one name have in common.
struct Family {
    name: String,
    help: &'static str,
    kind: Kind,
    unit: Unit,
}

impl Family {
    fn of<R>(place: &str, figure: &Figure<R>) -> Self {
        let name = format!("mpt_{place}_{}", figure.metric);
        Self { name, help: figure.help, kind: figure.kind, unit: figure.unit }
    }

    /// Of a reason: how often it was one, or whether it is one now.
    fn of_reasons(name: &str, help: &'static str, kind: Kind) -> Self {
        let unit = if kind == Kind::Gauge { Unit::YesOrNo } else { Unit::Number };
        Self { name: name.to_owned(), help, kind, unit }
    }
}

#[derive(Debug)]
struct Snapshot(Arc<Report>);

impl Snapshot {
    fn connections(&self) -> impl Iterator<Item = ([Label<'_>; 2], &ConnectionReport)> {
        let tunnel = ("tunnel", self.0.tunnel.name.as_str());
        self.0.connections.iter().map(move |it| ([tunnel, ("connection", it.name.as_str())], it))
    }

    fn paths(&self) -> impl Iterator<Item = ([Label<'_>; 3], &PathReport)> {
        self.connections().flat_map(|([tunnel, connection], of)| {
            of.paths.iter().map(move |path| ([tunnel, connection, ("path", path.name.as_str())], path))
        })
    }
}

/// Labels, and one more.
fn and<'r>(labels: &[Label<'r>], more: Label<'r>) -> Vec<Label<'r>> {
    labels.iter().copied().chain([more]).collect()
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let to = &mut encoder;
        let tunnel = &self.0.tunnel;
        let of_tunnel = [("tunnel", tunnel.name.as_str())];
        if !tunnel.program.is_empty() {
            let help = "The version of the program that runs the tunnel: always 1.";
            let mut metric = to.encode_descriptor("mpt_build", help, None, MetricType::Info)?;
            metric.encode_info(&and(&of_tunnel, ("version", &tunnel.program)))?;
        }
        for figure in &TUNNEL {
            let sample = (figure.value)(tunnel).map(|value| (of_tunnel.to_vec(), value));
            encode(to, &Family::of("tunnel", figure), sample)?;
        }
        let family = Family::of_reasons(
            "mpt_tunnel_dropped",
            "Packets and datagrams dropped before it was known whose they are, or by the tunnel interface, by reason",
            Kind::Counter,
        );
        encode(
            to,
            &family,
            tunnel.dropped.iter().map(|(reason, n)| (and(&of_tunnel, ("reason", reason)), *n)),
        )?;

        for figure in &CONNECTION {
            let samples =
                self.connections().filter_map(|(labels, of)| Some((labels.to_vec(), (figure.value)(of)?)));
            encode(to, &Family::of("connection", figure), samples)?;
        }
        let family = Family::of_reasons(
            "mpt_connection_dropped",
            "Packets and datagrams of the peer that were dropped, by reason",
            Kind::Counter,
        );
        let samples = self.connections().flat_map(|(labels, of)| {
            of.dropped.iter().map(move |(reason, n)| (and(&labels, ("reason", reason)), *n))
        });
        encode(to, &family, samples)?;

        for figure in &PATH {
            let samples =
                self.paths().filter_map(|(labels, of)| Some((labels.to_vec(), (figure.value)(of)?)));
            encode(to, &Family::of("path", figure), samples)?;
        }
        let family = Family::of_reasons(
            "mpt_path_not_sent",
            "Datagrams handed out for sending that the kernel did not take, by reason",
            Kind::Counter,
        );
        let samples = self.paths().flat_map(|(labels, of)| {
            of.not_sent.named().into_iter().map(move |(reason, n)| (and(&labels, ("reason", reason)), n))
        });
        encode(to, &family, samples)?;
        let down = Family::of_reasons(
            "mpt_path_down",
            "Why the path is down: 1 for the reason that holds, absent for others and while it is up",
            Kind::Gauge,
        );
        let samples = self
            .paths()
            .filter_map(|(labels, of)| Some((and(&labels, ("reason", of.reason.as_deref()?)), 1)));
        encode(to, &down, samples)?;
        let limited = Family::of_reasons(
            "mpt_path_limited",
            "Why the path carries no more: 1 for the reason that holds, absent for others",
            Kind::Gauge,
        );
        let samples = self.paths().filter_map(|(labels, of)| {
            Some((and(&labels, ("reason", of.model.as_ref()?.limited_by.as_str())), 1))
        });
        encode(to, &limited, samples)
    }
}

/// Writes a family that has samples.
fn encode<'r>(
    to: &mut DescriptorEncoder<'_>,
    family: &Family,
    samples: impl IntoIterator<Item = (Vec<Label<'r>>, u64)>,
) -> std::fmt::Result {
    let mut samples = samples.into_iter().peekable();
    if samples.peek().is_none() {
        return Ok(());
    }
    let unit = family.unit.of_metric().map(|unit| MetricUnit::Other(unit.to_owned()));
    // The name has the unit behind it, once.
    let help = format!("{}.", family.help);
    let kind = match family.kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
    };
    let mut metric = to.encode_descriptor(&family.name, &help, unit.as_ref(), kind)?;
    for (labels, value) in samples {
        let mut sample = metric.encode_family(&labels)?;
        match (family.kind, family.unit) {
            (Kind::Counter, _) => sample.encode_counter::<NoLabelSet, u64, u64>(&value, None)?,
            (Kind::Gauge, Unit::Number | Unit::YesOrNo | Unit::Bytes) => sample.encode_gauge(&value)?,
            (Kind::Gauge, unit) => sample.encode_gauge(&unit.to_metric(value))?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
