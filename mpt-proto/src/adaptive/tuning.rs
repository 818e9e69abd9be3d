//! Every tuning number of the adaptive policy: its unit, why it has this value, and what pins it.
//!
//! "Pinned by" names a table in `fuzz/tests/snapshots/bond/` or a unit test; a number that is changed shows there. Times are
//! microseconds unless the type says otherwise, rates are bytes a second.

use core::time::Duration;

use crate::time::Micros;

// --- Pacing -----------------------------------------------------------------------------------------------------------

/// Rate of a path of which nothing is known, in bytes a second: 10 Mbit/s. Less makes the slow start of TCP end early. Pinned by
/// `short.txt`.
pub(super) const START_RATE: f32 = 1_250_000.0;
/// Lowest rate of a path, in bytes a second: 40 kbit/s, so that a path that was misjudged can show what it carries, and a SIM that
/// is throttled to 64 kbit/s is not flooded. Pinned by `home.txt`.
pub(super) const LEAST_RATE: f32 = 5_000.0;
/// Highest rate that reports can claim, in bytes a second: 32 Gbit/s. Pinned by `no_time_and_no_length_is_too_large`.
pub(super) const MOST_RATE: f32 = 4e9;
/// Credit that a path gathers while there is something to send, in nanoseconds: a burst of one millisecond.
pub(super) const BURST_NANOS: u64 = 1_000_000;
/// As much more as this many standard deviations of the delay within a hundredth of a second, where there is too little to send: a flow
/// whose packets come in bursts, as that path makes them, would wait for the pace again. Pinned by `random-quick.txt`.
pub(super) const BURST_NOISE: f32 = 2.0;
/// Credit where packets waited because the caller came late, as on a busy machine, in nanoseconds: what [`QUEUE_TARGET`] allows
/// for.
pub(super) const LATE_NANOS: u64 = 4_000_000;
/// Bulk takes a path when this much of its time has gathered, in nanoseconds: 0.75 ms save four tenths of the processor time on four
/// paths of 100 Mbit/s; below 15 Mbit/s it is one packet.
pub(super) const RUN_NANOS: u64 = 750_000;
/// Longest run of bulk, in bytes: what leaves in one call of the kernel's segmentation offload.
pub(super) const RUN_BYTES: u64 = 60_000;
/// Packets that may be on the way beyond the bandwidth-delay product: a path of any rate can send a few.
pub(super) const SLACK_PACKETS: f32 = 8.0;
/// In flight at most, as a multiple of the bandwidth-delay product with [`REPORTED_LATER`].
pub(super) const IN_FLIGHT: f32 = 1.25;
/// What the time from sending to the report may exceed its mean by, in microseconds, and what noise adds, in deviations.
pub(super) const REPORTED_LATER: f32 = 25_000.0;
/// See [`REPORTED_LATER`].
pub(super) const REPORTED_NOISE: f32 = 4.0;

// --- Delay ------------------------------------------------------------------------------------------------------------

/// The base delay is the least of this window and the one before. Long enough to meet an empty queue; two clocks that drift apart
/// by 200 ppm differ by 2 ms in it. Pinned by `odd.txt`.
pub(super) const BASE_WINDOW: Duration = Duration::from_secs(5);
/// Time scales at which a path's own variation of delay is measured, in microseconds of sending time: from a report to the longest
/// pause of a radio that does not mean anything.
pub(super) const NOISE_SPANS: [f32; 3] = [10_000.0, 40_000.0, 160_000.0];
/// Share by which each measurement moves the mean of its time scale.
pub(super) const NOISE_GAIN: f32 = 1.0 / 12.0;
/// One measurement counts as at most this multiple of the mean, plus [`NOISE_STEP`]: an outage is no noise.
pub(super) const NOISE_OUTLIER: f32 = 4.0;
/// Most that noise grows from nothing by one measurement, in microseconds, before [`NOISE_GAIN`].
pub(super) const NOISE_STEP: f32 = 2_000.0;
/// In Startup, or while the rate changes by this factor within a measurement, the measurement says nothing of a path that carries
/// [`NOISE_USED`] of it: a queue that comes and goes with the bursts of Startup looks like noise.
pub(super) const NOISE_GROWTH: f32 = 1.2;
/// See [`NOISE_GROWTH`].
pub(super) const NOISE_USED: f32 = 0.5;
/// Deviation that runs of datagrams, and a queue that comes and goes within its target, make by themselves, in microseconds. BBR over
/// two shaped links of 100 Mbit/s without delay had 99 to 180 Mbit/s of 186 where that counted as noise.
pub(super) const OWN_NOISE: f32 = 1_000.0;
/// Standard deviation of normal noise, as a multiple of the mean of what nothing explains: 0.98 where each measurement draws anew,
/// 0.89, sqrt(pi) / 2, where the one before drew nothing.
pub(super) const DEVIATION_OF_MEAN: f32 = 0.95;
/// Standard deviation of the delay of packets that leave together, as a multiple of the mean difference between one and the next:
/// sqrt(pi) / 2 for a normal distribution.
pub(super) const SCATTER_OF_JITTER: f32 = 0.886;
/// A path whose delay deviates by more, in microseconds, is noisy: one low delay does not show that its queue is empty.
pub(super) const NOISY: f32 = 1_000.0;
/// The middle of a noisy delay lies this many deviations above the least of [`BASE_WINDOW`]. Pinned by `wander.txt`.
pub(super) const CENTRE: f32 = 2.0;
/// Queueing delay on a path that is accepted, in microseconds, and what noise adds to it, in deviations. Pinned by `latency.txt`.
pub(super) const QUEUE_TARGET: f32 = 4_000.0;
/// See [`QUEUE_TARGET`].
pub(super) const QUEUE_NOISE: f32 = 2.0;
/// Queueing delay on a thin path that is accepted, as a multiple of what a full packet takes beyond [`QUEUE_TARGET`]: a full packet is later
/// than a small one by its own time, which is no queue. Pinned by `thin.txt`.
pub(super) const QUEUE_PACKETS: f32 = 1.5;
/// Less than this share of the accepted queue is none.
pub(super) const EMPTY: f32 = 0.2;
/// Share by which the mean queueing delay of a report moves the smoothed one.
pub(super) const QUEUE_GAIN: f32 = 0.3;
/// Share by which a report moves the smoothed time from sending to the report.
pub(super) const FEEDBACK_GAIN: f32 = 0.2;
/// Longest time from sending to a report that is believed, in microseconds. Pinned by
/// `reports_of_what_cannot_be_are_refused_and_change_nothing`.
pub(super) const LONGEST_FEEDBACK: u32 = 60_000_000;

/// A clock was set if the way there became longer and the way back shorter by more than this, in microseconds, or the reverse; what
/// noise adds, in deviations. Pinned by `hurt.txt`.
pub(super) const CLOCK_STEP: f32 = 50_000.0;
/// See [`CLOCK_STEP`].
pub(super) const CLOCK_STEP_NOISE: f32 = 10.0;
/// Share of that by which the round trip may have changed meanwhile.
pub(super) const CLOCK_STEP_ROUND: f32 = 0.3;
/// Reports in a row after which another round trip is the usual one.
pub(super) const CLOCK_STEP_TRIPS: u8 = 50;

// --- Rate -------------------------------------------------------------------------------------------------------------

/// Shortest time over which a rate is measured, in microseconds, and in Startup.
pub(super) const SAMPLE: f32 = 40_000.0;
/// See [`SAMPLE`].
pub(super) const STARTUP_SAMPLE: f32 = 12_000.0;
/// In Startup noise makes a sample last for this many deviations: it may be wrong, but must grow.
pub(super) const STARTUP_NOISE: f32 = 5.0;
/// On a noisy path a rate is measured over this many deviations of its delay: two delays that differ by chance then change it by
/// a fourteenth. Pinned by `wander.txt`.
pub(super) const SAMPLE_NOISE: f32 = 20.0;
/// Longest time that noise makes a sample last, in microseconds.
pub(super) const LONGEST_SAMPLE: f32 = 500_000.0;
/// Fewest packets of a sample.
pub(super) const SAMPLE_PACKETS: u32 = 8;
/// The rate is the highest sample of this time, in microseconds, of [`RATE_ROUNDS`] and [`RATE_SAMPLES`].
pub(super) const RATE_WINDOW: f32 = 1_000_000.0;
/// Round trips in which the highest sample counts.
pub(super) const RATE_ROUNDS: f32 = 6.0;
/// Samples of a noisy path of which the highest counts.
pub(super) const RATE_SAMPLES: f32 = 10.0;
/// There is enough to send if so lately a sample was not limited by it: those after a drain always are, for a round trip.
pub(super) const FILLED_WITHIN: Micros = Micros(1_000_000);
/// For this long a rate that was seen is not given up without a proof.
pub(super) const SEEN_FOR: Micros = Micros(5_000_000);
/// Share of it that is kept: the highest sample of a noisy path is too high.
pub(super) const SEEN_SHARE: f32 = 0.85;
/// Of the rate at least this share counts as used: a proof after little was sent must not stop what comes.
pub(super) const LEAST_USED: f32 = 0.5;
/// A queue of this multiple of what is accepted stands.
pub(super) const STANDS: f32 = 1.5;
/// Where a queue stands what arrives is the capacity: share by which it moves the rate.
pub(super) const SATURATED_GAIN: f32 = 0.3;
/// A sample that takes this many times as long as it has to, as packets are few, counts for several: it sets the rate, in Drain too.
/// Pinned by `thin.txt`.
pub(super) const THIN: f32 = 2.0;
/// If more than this share is lost, twice in a row, the path drops what exceeds its rate: a policer, or a queue that is full. Bursts
/// of losses on radios lose less over so many packets. Pinned by `home.txt`.
pub(super) const POLICED: f32 = 0.12;
/// After a cut for losses, what is lost is the link's own where as much as this share of it stays lost in so many judgements. A policer
/// drops less, though its bucket may hide that at first. Pinned by `policed.txt`.
pub(super) const OWN_LOSS_SHARE: f32 = 0.7;
/// See [`OWN_LOSS_SHARE`].
pub(super) const OWN_LOSS_STAYS: u8 = 3;
/// Of such a judgement less must have left than before the cut, by this share of what was lost: of a flow that is limited by something else a
/// policer drops as much. Pinned by `hunted.txt`.
pub(super) const OWN_LOSS_FALL: f32 = 0.5;
/// Highest loss that a link may have of its own: where more than half is lost, nothing is worth sending.
pub(super) const MOST_OWN_LOSS: f32 = 0.5;
/// Share by which a judgement with less loss lowers what the link has of its own.
pub(super) const OWN_LOSS_GAIN: f32 = 0.25;
/// A rate that lost so is not exceeded for this long.
pub(super) const POLICED_FOR: Duration = Duration::from_secs(5);
/// Where that ends at the same rate, within this share of it, once more, the link has a policer: for so long.
pub(super) const POLICED_ALIKE: f32 = 0.15;
/// See [`POLICED_ALIKE`].
pub(super) const POLICED_AGAIN_FOR: Duration = Duration::from_secs(30);
/// Fewest path numbers over which losses are judged.
pub(super) const POLICED_PACKETS: i32 = 64;
/// Shortest time over which losses are judged, in microseconds.
pub(super) const POLICED_TIME: f32 = 100_000.0;
/// And in standard deviations of the delay of packets that leave together: those that are late seem to be lost meanwhile.
pub(super) const POLICED_SCATTER: f32 = 20.0;

// --- Phases -----------------------------------------------------------------------------------------------------------

/// Startup sends at this multiple of the rate.
pub(super) const STARTUP_GAIN: f32 = 2.0;
/// Growth that a round of Startup must bring, and rounds without it that end it.
pub(super) const STARTUP_GROWTH: f32 = 1.2;
/// See [`STARTUP_GROWTH`].
pub(super) const FLAT_ROUNDS: u8 = 3;
/// Reports in a row with a queue that grows, which end Startup.
pub(super) const GROWING_REPORTS: u8 = 2;
/// Reports in a row with a queue that end Startup though it does not grow: a delay that steps up is not taken for one before it has
/// stayed for longer than delays wander. Pinned by `latency.txt` and `wander.txt`.
pub(super) const QUEUED_REPORTS: u8 = 20;
/// Least queue that counts for it, in microseconds.
pub(super) const STARTUP_QUEUE: f32 = 8_000.0;
/// The delay grows if a report's packets arrived over this multiple of the time in which they left.
pub(super) const GROWS: f32 = 1.1;
/// What Drain sends after Startup, of the rate.
pub(super) const DRAIN_STARTUP: f32 = 0.6;
/// What Drain sends after the brake, an outage, or to look for an empty queue.
pub(super) const DRAIN: f32 = 0.5;
/// What Drain sends after a probe that left a queue.
pub(super) const DRAIN_PROBE: f32 = 0.9;
/// Longest Drain: this many rounds, this many microseconds, this many deviations and the time of this many full packets together.
pub(super) const DRAIN_ROUNDS: f32 = 4.0;
/// See [`DRAIN_ROUNDS`].
pub(super) const DRAIN_TIME: f32 = 300_000.0;
/// See [`DRAIN_ROUNDS`].
pub(super) const DRAIN_NOISE: f32 = 16.0;
/// See [`DRAIN_ROUNDS`].
pub(super) const DRAIN_PACKETS: f32 = 8.0;
/// A drain is judged when the delay should have fallen by this, in microseconds, or by [`ANSWER_NOISE`] deviations.
pub(super) const ANSWER: f32 = 5_000.0;
/// See [`ANSWER`].
pub(super) const ANSWER_NOISE: f32 = 3.0;
/// Share of that by which the delay must have fallen, or what stands is no queue of ours.
pub(super) const ANSWERED: f32 = 0.4;
/// When no empty queue was seen for this long, one is made, or a standing queue would become the base.
pub(super) const STALE_BASE: Duration = Duration::from_secs(1);
/// Cruise sends less by this share of the rate for each microsecond of queue beyond half of what is accepted.
pub(super) const CRUISE_SLOPE: f32 = 1.0 / 100_000.0;
/// Cruise sends no less than this share of the rate.
pub(super) const CRUISE_LEAST: f32 = 0.85;
/// Share by which a report moves the slow mean of the rate, which a path returns to after an outage.
pub(super) const STABLE_GAIN: f32 = 0.02;
/// Bounds of the time between two probes for more, in microseconds: queues of probes set the 99th percentile of a ping beside bulk.
/// Pinned by `latency.txt` and `rate.txt`.
pub(super) const PROBE_PERIOD: (f32, f32) = (500_000.0, 2_000_000.0);
/// A probe in vain makes the next one wait longer by this factor.
pub(super) const PROBE_BACKOFF: f32 = 1.5;
/// Probes of several paths drift apart: each period is this long at least, and up to [`PROBE_SPREAD`] longer.
pub(super) const PROBE_JITTER: f32 = 0.85;
/// See [`PROBE_JITTER`].
pub(super) const PROBE_SPREAD: f32 = 0.3;
/// Where no queue stands there may well be more: probes come this many times as often.
pub(super) const PROBE_HURRY: f32 = 4.0;
/// What a probe sends, of the rate: enough to be seen in a sample, little enough that its queue is.
pub(super) const PROBE_GAIN: f32 = 1.125;
/// Planned time at [`PROBE_GAIN`], in microseconds, longer on thin and noisy paths; a queue ends it sooner. A whole round trip of it would leave a queue of an eighth of the round trip,
/// and a far path would be closed. On a thin path it is that of [`SAMPLE_PACKETS`].
pub(super) const PROBE_TIME: f32 = 60_000.0;
/// On a noisy path a probe lasts for this many deviations, and sends more by this many in that time: what it leaves on a path that
/// is full stands out of the noise. Pinned by `wander.txt`.
pub(super) const PROBE_NOISE: (f32, f32) = (10.0, 2.5);
/// A queue above this multiple of what is accepted ends a probe.
pub(super) const PROBE_QUEUE: f32 = 2.5;
/// Growth of the rate that a probe must bring.
pub(super) const PROBE_GROWTH: f32 = 1.04;
/// A probe found nothing if its packets arrived later by this share of what it leaves on a path that is full.
pub(super) const PROBE_FULL: f32 = 0.5;
/// Shortest sending time of a probe that can be judged so, in microseconds.
pub(super) const PROBE_JUDGED: f32 = 20_000.0;
/// Queue above which the brake is pulled if less arrives than was sent, in microseconds, and what noise adds, in deviations.
pub(super) const BRAKE_QUEUE: f32 = 20_000.0;
/// See [`BRAKE_QUEUE`].
pub(super) const BRAKE_NOISE: f32 = 4.0;
/// Shortest and longest time over which the brake looks, in microseconds.
pub(super) const BRAKE_TIME: (f32, f32) = (20_000.0, 200_000.0);
/// Less arrives than was sent if it arrives over this multiple of the time, at less than [`BRAKE_SHARE`] of the rate.
pub(super) const BRAKE_STRETCH: f32 = 1.15;
/// See [`BRAKE_STRETCH`].
pub(super) const BRAKE_SHARE: f32 = 0.9;
/// Brakes within this time are one event: the rate before the first is what may be regained.
pub(super) const BRAKE_EVENT: f32 = 2e6;
/// After a brake by which the rate falls below this share, the capacity may come back as fast: probes follow each other by a round trip,
/// then ever more slowly. A link whose rate varies by 60 % within a second then gives BBR a tenth more. Pinned by `change.txt`.
pub(super) const FALLEN: f32 = 0.7;
/// A capacity that was larger by this factor before the brake may be back: it is tried once.
pub(super) const REGAIN: f32 = 1.25;
/// A queue that stands for this long although the rate was cut to [`SQUEEZED_SHARE`] is kept by others. Pinned by `sharing.txt`.
pub(super) const SQUEEZED: Duration = Duration::from_secs(2);
/// A queue of ours may drain for this many times as long as it was at worst before it is taken for that of others: a SIM that is throttled
/// to 64 kbit/s may hold three seconds. Pinned by `thin.txt`.
pub(super) const SQUEEZED_QUEUE: f32 = 2.0;
/// See [`SQUEEZED`].
pub(super) const SQUEEZED_SHARE: f32 = 0.5;
/// Compete grows by this many packets a round trip, and keeps this share of its rate at a loss, as CUBIC does.
pub(super) const COMPETE_PACKETS: f32 = 2.0;
/// See [`COMPETE_PACKETS`].
pub(super) const COMPETE_KEEPS: f32 = 0.7;
/// Longest time between two reports for which Compete grows, in microseconds.
pub(super) const COMPETE_STEP: f32 = 100_000.0;
/// Without a loss for this long, what seems a queue of others is a longer way.
pub(super) const LONGER_WAY: Duration = Duration::from_secs(30);

// --- Failure ----------------------------------------------------------------------------------------------------------

/// Numbers whose time of sending is remembered for the failure test.
pub(super) const MILESTONES: usize = 16;
/// Least time between two of them, in microseconds.
pub(super) const MILESTONE_STEP: u32 = 4_000;
/// Packets that must be overdue.
pub(super) const OVERDUE_PACKETS: i32 = 3;
/// A packet is overdue this long after it should have arrived, in microseconds; twice as long after each false alarm. Pinned by
/// `failure-flow.txt` and `a_path_that_stops_is_overdue_soon_and_one_that_works_never`.
pub(super) const OVERDUE: f32 = 15_000.0;
/// What the queue and noise add to it, as a multiple and in deviations.
pub(super) const OVERDUE_QUEUE: f32 = 1.5;
/// See [`OVERDUE_QUEUE`].
pub(super) const OVERDUE_NOISE: f32 = 4.0;
/// False alarms that count.
pub(super) const MOST_ALARMS: u8 = 2;
/// Time after which false alarms are forgotten.
pub(super) const ALARMED: Duration = Duration::from_secs(60);
/// Signs of life count from this long after the suspicion, in microseconds: what was on the way before may still come.
pub(super) const REVIVED: f32 = 20_000.0;

// --- Common delay -----------------------------------------------------------------------------------------------------

/// Queueing delay that a path may have without being late, in microseconds. Pinned by `unequal.txt`.
pub(super) const ALLOWANCE: f32 = 12_000.0;
/// What noise adds to the delay at which a path's packets come in time, in deviations: 19 of 20 do then, and the others wait at the
/// receiver for no one. Pinned by `mqvpn.txt`.
pub(super) const DELAY_NOISE: f32 = 2.0;
/// How much a path's delay may exceed the common one before it is closed, in microseconds, and what noise adds, in deviations: its
/// estimates vary by that much.
pub(super) const TOLERANCE: f32 = 4_000.0;
/// See [`TOLERANCE`].
pub(super) const CLOSING_NOISE: f32 = 1.5;
/// Most that the slowest path may lag behind the fastest, in microseconds. A flow by CUBIC whose round trip grows by 300 ms has less
/// than the fast path alone for half a minute. Pinned by `mqvpn.txt` and `a_path_that_lags_too_far_behind_is_not_worth_it`.
pub(super) const MOST_SPREAD: f32 = 250_000.0;
/// For a path with less than this share of the whole rate the delay does not rise: a SIM that is throttled to 64 kbit/s adds a
/// thousandth to a line of 50 Mbit/s, and 200 ms to each packet. Pinned by `thin.txt`.
pub(super) const LEAST_SHARE: f32 = 0.005;
/// The delay is never less than what paths with this share of the whole rate need, or with [`START_RATE`]: a fast start on
/// a path that is near but thin would end in a crawl, and a short transfer should not wait for a path that is far. Pinned by
/// `short.txt`.
pub(super) const MAIN_SHARE: f32 = 0.5;
/// How fast the delay rises, in microseconds a microsecond: CUBIC at 1,300 packets grows by at most 16 ms of its round trip in a
/// second, and BBR remembers its shortest round trip for ten seconds. Pinned by `climb.txt`.
pub(super) const RISE: f32 = 0.06;
/// How fast it rises where packets wait for longer than the next path takes longer: the flow then has no more to wait for than
/// before, and what comes out is less by a quarter for a moment. As fast as time itself (1.0), BBR would see it halve.
pub(super) const RUSH: f32 = 0.3;
/// How fast it falls, in microseconds a microsecond.
pub(super) const FALL: f32 = 0.02;
/// Where the open paths are full though no queue stands, as under BBR at its own pace, the delay rises until the round trip is this
/// multiple of the shortest that the flow may remember: BBR has twice of that on the way, and notices nothing. Pinned by `climb.txt`.
pub(super) const LIFT: f32 = 1.9;
/// Seconds for which a flow may remember its shortest round trip: ten of BBR's, and two until it looks.
pub(super) const MEMORY: usize = 12;
/// Paths are full if this share of what they carry leaves in each second, for [`FILLED_FOR`]: transfers that are over sooner are let
/// alone.
pub(super) const FILLED: f32 = 0.8;
/// See [`FILLED`].
pub(super) const FILLED_FOR: Duration = Duration::from_secs(3);
/// Sojourn above which a queue stands, in microseconds.
pub(super) const STANDING: u32 = 3_000;
/// For this long more than not, in microseconds: a queue that comes and goes is that of a path's own probe, or of a flow's.
pub(super) const PERSISTS: f32 = 250_000.0;
/// The queue must have been empty for this long for the delay to sink.
pub(super) const RESTS: Duration = Duration::from_millis(500);
/// A path that went down may come back: the delay stays for this long, in microseconds.
pub(super) const REMEMBERED: f32 = 15e6;
/// Share of the receiver's window that may be filled by holding.
pub(super) const WINDOW_SHARE: f32 = 0.7;
/// Most that packets of several paths are held because the delay of the nearest wanders, in microseconds. In virtual time two paths of
/// 50 Mbit/s that wander by 20 ms give BBR half as much again, and an LTE and a Starlink link 15 % more. Pinned by `mqvpn.txt`.
pub(super) const HELD_NOISE: f32 = 10_000.0;
/// Holding for less, in microseconds, is not worth it: waiting for what is missing brings packets in order.
pub(super) const NO_HOLD: f32 = 2_000.0;

// --- Ingress queue ----------------------------------------------------------------------------------------------------

/// Bytes of one turn of a flow: a full packet.
pub(super) const QUANTUM: u16 = 1514;
/// The same of a flow that is not held: a call's packet. One that sends larger ones has had its turn for longer, and does not go before
/// a call again and again. Pinned by `traffic-many.txt`.
pub(super) const EXPRESS_QUANTUM: u16 = 300;
/// A flow that sends less than this many bytes in [`SPARSE_WINDOW`] is sparse: 640 kbit/s, a call or a game, and the start
/// of a transfer.
pub(super) const SPARSE_BYTES: u32 = 8_000;
/// See [`SPARSE_BYTES`]; in microseconds.
pub(super) const SPARSE_WINDOW: u32 = 100_000;
/// An ordered flow is sparse again only after it has been silent for this many microseconds: longer than any packet of it may be
/// held.
pub(super) const REST: u32 = 400_000;
/// Buckets that a flow may have, by its hash: with half as many flows as buckets, one in fifty shares one.
pub(super) const WAYS: usize = 4;
/// A bucket belongs to a flow until this long after its last packet, in microseconds.
pub(super) const OWNED: u32 = 1_000_000;
/// A packet that is not held is dropped if it has waited for so many microseconds and another is behind it: where thousands of flows
/// begin in a second, CoDel is too slow.
pub(super) const EXPRESS_OLDEST: u32 = 500_000;
/// A UDP flow carries bulk if it sends this many bytes in [`SPARSE_WINDOW`]: 16 Mbit/s, four conferences. Pinned by `traffic.txt`.
pub(super) const BULK_BYTES: u32 = 200_000;
/// Or if packets of it have waited all the time for this many microseconds: what has a rate of its own leaves no queue, but while a
/// large frame leaves.
pub(super) const BULK_WAITS: u32 = 100_000;
/// Fewest bytes of a packet that shows that.
pub(super) const BULK_PACKET: usize = 1_000;
/// For how long that is remembered, in microseconds.
pub(super) const BULK_MEMORY: u32 = 10_000_000;
/// Packets of up to so many bytes are not held though their flow carries bulk: acknowledgements of QUIC, and of TCP in a tunnel.
pub(super) const LIKE_AN_ACK: usize = 200;
/// While the first acknowledgement of a flow has waited for so many microseconds, the last is replaced by the next one: less is a burst
/// that leaves together.
pub(super) const THIN_ACKS: u32 = 2_000;
/// Flows whose turns have passed share with those of the other queue: most that one queue may be ahead, in bytes for each flow.
pub(super) const MOST_LEAD: i32 = 4 * QUANTUM as i32;
/// Most packets dropped at once from a long queue, so that a flood does not drop one for each that comes.
pub(super) const DROP_BATCH: u16 = 64;
/// Low-latency traffic (ECT(1), RFC 9331) is marked from this sojourn on, in microseconds.
pub(super) const L4S_MARK: u32 = 1_500;
/// Sojourn of sparse packets that is accepted, and for how long it may be exceeded, in microseconds: beyond that they are too many for
/// all paths together.
pub(super) const SPARSE_BOUNDS: (u32, u32) = (20_000, 100_000);
/// Sojourn of bulk that is accepted, as a share of the round trip: with 5 ms always, a lone flow loses a tenth.
pub(super) const BULK_TARGET: f32 = 0.3;
/// Bounds of that, in microseconds.
pub(super) const BULK_TARGETS: (f32, f32) = (5_000.0, 40_000.0);
/// For how many round trips it may be exceeded.
pub(super) const BULK_INTERVAL: f32 = 3.0;
/// Bounds of that, in microseconds.
pub(super) const BULK_INTERVALS: (f32, f32) = (100_000.0, 1e6);
/// Sojourn that is accepted at least, as the time that this many full packets take on the open paths together: where one packet takes
/// longer than [`BULK_TARGETS`], every one would be dropped that another is behind (RFC 8290 section 5.2.2). In virtual time 3 and 5 give
/// the same goodput over links of 64 to 500 kbit/s.
pub(super) const LEAVING: f32 = 1.5;
/// Round trip while none is known, in microseconds.
pub(super) const UNKNOWN_ROUND_TRIP: f32 = 100_000.0;
/// While the common delay may rise, packets may wait as long as with a round trip that is longer by this, in microseconds.
pub(super) const RISING: f32 = 60_000.0;
/// Where packets always wait for repairs, they come in bursts of a round trip each. The queue allows for this many more.
pub(super) const REPAIR_BURSTS: f32 = 2.0;
/// A flow over a path whose delay wanders comes in bursts as well. The queue allows for a round trip that is longer by this many
/// deviations of the noisiest open path, and for a target that is higher by [`BULK_TARGET_NOISE`]. Pinned by `wander.txt`.
pub(super) const BULK_NOISE: f32 = 6.0;
/// See [`BULK_NOISE`].
pub(super) const BULK_TARGET_NOISE: f32 = 2.0;

// --- What leaves ------------------------------------------------------------------------------------------------------

/// A path that is new is shown this many padded signs of life at once, 8 kB in all: below 4 Mbit/s they arrive over more
/// time than two reports, and the path is known to be thin before anything relies on it.
pub(super) const TRAIN: u32 = 32;
/// Packets of sparse flows, and last repairs, may leave ahead of a path's pace by the time of this many bytes: two full packets.
pub(super) const OVERDRAW_BYTES: usize = 3_000;
/// What flows with a path of their own send beyond its pace keeps others off it for so many microseconds at most: as long as a path's
/// queue may be seen in reports. A flood on it would do so for as long as it took, else.
pub(super) const NAMED_DEBT: u64 = 20_000;
/// A path of a higher tier takes packets that have waited for this many microseconds on the lower ones.
pub(super) const SPILL: u32 = 4_000;
/// Packets are let gather for this long when all paths are busy, two runs of the path that is ready first: others then have one
/// as well, and the caller's wake-up pays.
pub(super) const GATHER: Duration = Duration::from_micros(1_500);
/// Between signs of life on open paths that carry nothing while others do: what is missing is then known soon.
pub(super) const MARKER: Duration = Duration::from_millis(10);
/// Between signs of life on other paths.
pub(super) const IDLE_MARKER: Duration = Duration::from_millis(100);
/// Signs of life, and reports, may each take one in this many bytes of what a path carries: at one in 10 ms they would need more than
/// all of a SIM that is throttled to 64 kbit/s. Pinned by `thin.txt`.
pub(super) const SIGNAL_SHARE: f32 = 10.0;
/// Bytes of a report on a link, with the headers of IP, UDP and Ethernet; a sign of life has less.
pub(super) const SIGNAL_BYTES: f32 = 100.0;
/// Paths are watched for this long after the last packet.
pub(super) const ACTIVE: Duration = Duration::from_secs(1);
/// Without a report for this long, with packets under way, nothing is known; in microseconds, where none came yet.
pub(super) const DEAF: u32 = 2_000_000;
/// The same where one came, in microseconds and in round trips: fifty reports that are missing, while nothing leaves but what is
/// known to fit.
pub(super) const LEAST_DEAF: u32 = 500_000;
/// See [`LEAST_DEAF`].
pub(super) const DEAF_ROUNDS: f32 = 4.0;

// --- Repairs ----------------------------------------------------------------------------------------------------------

/// Times a packet is sent at most.
pub(super) const TRIES: u8 = 8;
/// A packet older than this many microseconds is not sent again: what is above has done so itself.
pub(super) const OLDEST: u32 = 600_000;
/// Of what is sent, one in this many bytes may be sent again ...
pub(super) const CREDIT_SHARE: u32 = 6;
/// ... and this many at once.
pub(super) const MOST_CREDIT: u32 = 256 << 10;
/// Bytes of that which are kept for first repairs.
pub(super) const RESERVED_CREDIT: u32 = MOST_CREDIT / 4;
/// Where copies are dear, packets are copied for this long after a loss on their path: losses of radios come in bursts.
pub(super) const COPY_AFTER: Micros = Micros(200_000);
/// What a packet with a deadline is expected to take is its path's delay and this many deviations: 99 of 100 come in less, if the delay is
/// drawn from a normal distribution.
pub(super) const DEADLINE_NOISE: f32 = 2.33;
/// What the time from sending to hearing of a packet may exceed its mean by, in microseconds, before the path is doubted: three reports,
/// in which a loss is told from silence by the next packet of a call. Three packets must be overdue before it is suspected. Pinned by
/// `traffic-deadline.txt`.
pub(super) const SILENT: f32 = 30_000.0;
/// What a repair takes beyond a round trip and the way, in microseconds: the next packet of a call, and reports that name the loss.
pub(super) const REPAIRED: f32 = 40_000.0;
/// What it takes beyond a round trip and the way until what is under way on a path that stopped is there by another one: until three packets
/// of a call are overdue.
pub(super) const MOVED: f32 = 100_000.0;
/// A path that lost a packet within this time may lose the next one: a link of 1 % loses one of a call's packets in 2 s.
pub(super) const LOSSY: Micros = Micros(10_000_000);
/// A path that was silent within this time may be so again: satellites of Starlink are assigned anew each 15 s.
pub(super) const STALLING: Micros = Micros(20_000_000);
/// Bytes of copies of protected packets at once: a fifth of a second of a conference.
pub(super) const MOST_COPIES: u32 = 64 << 10;
/// After reports that did not come, nothing is let go of for this long: those that took another path may still come, and name gaps.
pub(super) const DOUBT: Duration = Duration::from_millis(100);
/// The receiver waits for a repair for this many round trips of the fastest path and this many microseconds: until its third try.
pub(super) const PATIENCE_FAST: (f32, f32) = (4.0, 20_000.0);
/// Or for this many of the slowest and this many microseconds: until its first.
pub(super) const PATIENCE_SLOW: (f32, f32) = (1.5, 60_000.0);
/// But no less than this, in microseconds.
pub(super) const LEAST_PATIENCE: f32 = 80_000.0;
/// And no more than the larger of this many microseconds and of [`PATIENCE_FAR`].
pub(super) const MOST_PATIENCE: f32 = 250_000.0;
/// Round trips of the fastest path and microseconds that are always waited for.
pub(super) const PATIENCE_FAR: (f32, f32) = (2.5, 60_000.0);
/// On noisy paths this many deviations longer: a repair may be as late as any packet.
pub(super) const PATIENCE_NOISE: f32 = 4.0;
/// And longer by this many times the time by which a number is named later where packets overtake each other: each of three tries waits
/// for that. In virtual time `115mbit 6ms 4% wander 17ms reorder, 126mbit 30ms dip 164ms-389ms each 13s` gives CUBIC 104 Mbit/s, and 73
/// without.
pub(super) const PATIENCE_REORDERED: f32 = 3.0;
/// Round trip of the fastest path while none is known, in microseconds.
pub(super) const UNKNOWN_FEEDBACK: f32 = 150_000.0;
/// Packets of up to this many bytes pass every path: an IPv4 host takes packets of 576 bytes (RFC 791 section 3.1). Their losses say
/// nothing about sizes.
pub(super) const SMALL_PACKET: u16 = 512;
/// Large packets lost in a row, each sent after the loss of the one before was known and none of their size arriving meanwhile,
/// from which on their size is doubted. Where one packet in ten is lost by chance, one of a thousand rows is such a one, and costs a
/// probe of the size. `sizes/tests.rs`.
pub(super) const LARGE_LOST: u8 = 3;
/// A size is doubted for no longer than this if nobody answers: a search of the caller needs at most some seconds.
pub(super) const DOUBT_FOR: Duration = Duration::from_secs(10);
