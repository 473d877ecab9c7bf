//! Edits of the orderers' settings, consenters aside.
//!
//! A module of its own because sizes and times of a profile are text with units.
//!
//! Source: fabric-config 0.3.0 `configtx/orderer.go`; Fabric 3.1.5 `common/viperutil` for sizes.

use super::EditError;
use super::build::{self, Dialect};
use super::profile::{OrdererProfile, RaftOptionsProfile};
use crate::fabric::config::go_duration;
use crate::fabric::config::tree::{ConfigGroup, ConfigPolicy, Fields};

pub(super) fn set(orderer: &mut ConfigGroup, profile: &OrdererProfile) -> Result<(), EditError> {
    let mut consensus = fields(orderer, "ConsensusType")?;
    let kind = String::from_utf8_lossy(&consensus.bytes(1)).into_owned();
    if kind != profile.orderer_type || !["etcdraft", "BFT"].contains(&kind.as_str()) {
        let reason = format!("its consensus type is {kind:?}, the profile's {:?}", profile.orderer_type);
        return Err(EditError::Unsuitable { reason });
    }
    let mut size_value = fields(orderer, "BatchSize")?;
    size_value.set_number(1, u64::from(profile.batch_size.max_message_count));
    size_value.set_number(2, sized("BatchSize.AbsoluteMaxBytes", &profile.batch_size.absolute_max_bytes)?);
    size_value.set_number(3, sized("BatchSize.PreferredMaxBytes", &profile.batch_size.preferred_max_bytes)?);
    let mut timeout = fields(orderer, "BatchTimeout")?;
    let span = duration(&profile.batch_timeout)
        .ok_or_else(|| EditError::profile(format!("BatchTimeout {:?} is no duration", profile.batch_timeout)))?;
    timeout.set_bytes(1, span.as_bytes());
    let mut restrictions = fields(orderer, "ChannelRestrictions").unwrap_or_default();
    restrictions.set_number(1, profile.max_channels);
    let mut policies = build::policies(&profile.policies, &["BlockValidation"], Dialect::Profiles)?;
    if kind == "etcdraft" {
        let options = profile.etcd_raft_options.as_ref();
        let options = options.ok_or_else(|| EditError::profile("there are no EtcdRaftOptions"))?;
        let mut metadata = Fields::decode(&consensus.bytes(2))?;
        let mut raft = Fields::decode(&metadata.bytes(2))?;
        set_raft(&mut raft, options)?;
        metadata.set_all(2, [&raft.encode()[..]]);
        consensus.set_bytes(2, &metadata.encode());
    } else if let Some(existing) = orderer.policies.get("BlockValidation") {
        // It follows from the consenters and nothing else.
        let kept: ConfigPolicy = existing.clone();
        policies.insert("BlockValidation".to_owned(), kept);
    }
    for (name, value) in [
        ("BatchSize", size_value),
        ("BatchTimeout", timeout),
        ("ChannelRestrictions", restrictions),
        ("ConsensusType", consensus),
    ] {
        build::set(orderer, name, value.encode());
    }
    build::replace_policies(orderer, policies);
    Ok(())
}

fn set_raft(raft: &mut Fields, options: &RaftOptionsProfile) -> Result<(), EditError> {
    raft.set_bytes(1, options.tick_interval.as_bytes());
    raft.set_number(2, u64::from(options.election_tick));
    raft.set_number(3, u64::from(options.heartbeat_tick));
    raft.set_number(4, u64::from(options.max_inflight_blocks));
    raft.set_number(5, sized("EtcdRaftOptions.SnapshotIntervalSize", &options.snapshot_interval_size)?);
    Ok(())
}

fn fields(orderer: &ConfigGroup, name: &str) -> Result<Fields, EditError> {
    let value = orderer.values.get(name).ok_or_else(|| EditError::absent(format!("the value {name}")))?;
    Ok(Fields::decode(&value.value)?)
}

fn sized(what: &str, text: &str) -> Result<u64, EditError> {
    let size = size(text)
        .ok_or_else(|| EditError::profile(format!("{what}: {text:?} is no size with a unit, such as \"512 KB\"")))?;
    Ok(u64::from(size))
}

/// A size with a unit, such as `512 KB`, `1m` or `2 GB`.
pub(crate) fn size(text: &str) -> Option<u32> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, rest) = text.split_at(digits);
    let unit = rest.trim_start_matches([' ', '\t', '\n', '\r', '\u{c}']).to_ascii_lowercase();
    let shift = match unit.strip_suffix('b').unwrap_or(&unit) {
        "k" => 10,
        "m" => 20,
        "g" => 30,
        _ => return None,
    };
    // A zero in front means octal, as Go reads it.
    let number = match number.strip_prefix('0') {
        Some(octal) if !octal.is_empty() => u64::from_str_radix(octal, 8),
        _ => number.parse::<u64>(),
    };
    u32::try_from(number.ok()?.checked_mul(1 << shift)?).ok()
}

/// A duration in the form in which Go writes it: `90s` is `1m30s`, `2000ms` is `2s`.
pub(crate) fn duration(text: &str) -> Option<String> {
    let nanos = go_duration(text)?.as_nanos();
    let fraction = |value: u128, unit: u128, name: &str| {
        let (whole, rest) = (value / unit, value % unit);
        let digits = unit.ilog10() as usize;
        let rest = format!("{rest:0digits$}");
        let rest = rest.trim_end_matches('0');
        if rest.is_empty() { format!("{whole}{name}") } else { format!("{whole}.{rest}{name}") }
    };
    Some(match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => fraction(nanos, 1_000, "µs"),
        1_000_000..1_000_000_000 => fraction(nanos, 1_000_000, "ms"),
        _ => {
            let (minutes, rest) = (nanos / 60_000_000_000, nanos % 60_000_000_000);
            let seconds = fraction(rest, 1_000_000_000, "s");
            match (minutes / 60, minutes % 60) {
                (0, 0) => seconds,
                (0, minutes) => format!("{minutes}m{seconds}"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, expected) in [
            ("99 MB", Some(99 << 20)),
            ("1m", Some(1 << 20)),
            ("512KB", Some(512 << 10)),
            ("3 g", Some(3 << 30)),
            ("4 GB", None),
            ("010k", Some(8 << 10)),
            ("1000", None),
            ("", None),
            ("k", None),
            ("1 TB", None),
            ("-1 k", None),
            ("1 k b", None),
        ] {
            assert_eq!(size(text), expected, "for {text:?}");
        }
    }

    #[test]
    fn durations_are_written_as_go_does() {
        for (text, expected) in [
            ("2s", "2s"),
            ("750ms", "750ms"),
            ("2000ms", "2s"),
            ("90s", "1m30s"),
            ("1h", "1h0m0s"),
            ("1.5s", "1.5s"),
            ("61.25m", "1h1m15s"),
            ("1500us", "1.5ms"),
            ("1500ns", "1.5µs"),
            ("7ns", "7ns"),
            ("0", "0s"),
        ] {
            assert_eq!(duration(text).as_deref(), Some(expected), "for {text:?}");
        }
        assert_eq!(duration("soon"), None);
    }
}
