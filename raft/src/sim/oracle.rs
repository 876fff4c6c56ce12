//! Judges what the clients were told, once from the order of the log and once without knowing it.

use std::collections::BTreeMap;

use super::checks::Checks;
use super::clients::{Ask, Operation, Told};
use super::machine::{Command, Model};

/// What is wrong with a history, if anything.
pub(crate) fn judge(history: &[Operation], checks: &Checks) -> Result<(), String> {
    let mut model = Model::default();
    for (index, (_, command, outcome)) in &checks.applied {
        let expected = model.apply(*index, command);
        if expected != *outcome {
            return Err(format!("{command} at {index} came to {outcome}, not {expected}"));
        }
    }
    each(history, checks, &model)?;
    in_order(history)?;
    let keys: std::collections::BTreeSet<_> = history.iter().filter_map(|operation| register(&operation.ask)).collect();
    keys.into_iter().try_for_each(|key| linearizable(history, key))
}

/// Each answer is what the log says.
fn each(history: &[Operation], checks: &Checks, model: &Model) -> Result<(), String> {
    for (id, operation) in history.iter().enumerate() {
        let place = checks.places.get(&(id as u64));
        match (&operation.ask, operation.ended.as_ref().map(|(_, told)| told)) {
            (Ask::Do(_), Some(Told::Done { index, at, outcome })) => {
                let applied = checks.applied.get(index).filter(|_| place == Some(index));
                if applied.is_none_or(|(time, _, applied)| time != at || applied != outcome) {
                    return Err(format!("operation {id} was acknowledged at {index} with {outcome}, and is not there"));
                }
            }
            (Ask::Do(_), Some(Told::Refused(why))) if place.is_some() => {
                return Err(format!("operation {id} was refused ({why}) and took effect all the same"));
            }
            (Ask::Read(key) | Ask::Stale(key), Some(Told::Value { index, value, .. })) => {
                let held = model.at(key, *index);
                if held != *value {
                    return Err(format!("operation {id} read {value:?} from {key} at {index}, which held {held:?}"));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// What was acknowledged before an operation began lies before it in the log, and cluster time has not gone back.
fn in_order(history: &[Operation]) -> Result<(), String> {
    let mut ends: Vec<(u64, u64, u64)> = Vec::new();
    for operation in history {
        match (&operation.ask, &operation.ended) {
            (Ask::Do(_), Some((ended, Told::Done { index, at, .. }))) => ends.push((*ended, *index, *at)),
            (Ask::Read(_), Some((ended, Told::Value { index, time, .. }))) => ends.push((*ended, *index, *time)),
            _ => {}
        }
    }
    ends.sort_unstable();
    let mut before = (0, 0);
    let before: Vec<_> = ends
        .iter()
        .map(|(ended, index, time)| {
            before = (before.0.max(*index), before.1.max(*time));
            (*ended, before)
        })
        .collect();
    for (id, operation) in history.iter().enumerate() {
        let known = before.partition_point(|(ended, _)| *ended < operation.begun);
        let Some((_, (index_before, time_before))) = known.checked_sub(1).and_then(|at| before.get(at)) else {
            continue;
        };
        match (&operation.ask, &operation.ended) {
            (Ask::Do(_), Some((_, Told::Done { index, .. }))) if index <= index_before => {
                return Err(format!(
                    "operation {id} lies at {index}, behind {index_before} that was told before it began"
                ));
            }
            (Ask::Read(_), Some((_, Told::Value { index, time, .. }))) => {
                if index < index_before {
                    return Err(format!("read {id} saw {index} although {index_before} was told before it began"));
                }
                // A read is told its leader's time; a write only the time at which it was applied.
                if time < &applied_before(history, operation.begun) {
                    return Err(format!("read {id} was told time {time}, before {time_before}"));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn applied_before(history: &[Operation], begun: u64) -> u64 {
    let times = history.iter().filter_map(|operation| match &operation.ended {
        Some((ended, Told::Done { at, .. })) if *ended < begun => Some(*at),
        _ => None,
    });
    times.max().unwrap_or(0)
}

fn register(ask: &Ask) -> Option<&str> {
    match ask {
        Ask::Do(Command::Write { key, .. }) | Ask::Read(key) => Some(key),
        Ask::Do(Command::Swap { .. } | Command::Take { .. }) | Ask::Stale(_) => None,
    }
}

/// Gibbons and Korach, "Testing Shared Memories": with unique values a register is linearizable if and only if no two
/// forward zones overlap and no backward zone lies within a forward one. Knows nothing of logs and indexes.
fn linearizable(history: &[Operation], key: &str) -> Result<(), String> {
    // For each value: when the first operation on it had ended, when the last one began, and whether it was written.
    let mut zones: BTreeMap<&str, (u64, u64, u64)> = BTreeMap::from([("-", (0, 0, 0))]);
    let mut reads = Vec::new();
    for operation in history.iter().filter(|operation| register(&operation.ask) == Some(key)) {
        let ended = operation.ended.as_ref();
        match &operation.ask {
            Ask::Do(Command::Write { value, .. }) => {
                let refused = matches!(ended, Some((_, Told::Refused(_))));
                let until = ended.filter(|(_, told)| matches!(told, Told::Done { .. })).map_or(u64::MAX, |(at, _)| *at);
                if !refused {
                    zones.insert(value, (until, operation.begun, operation.begun));
                }
            }
            Ask::Read(_) => {
                if let Some((at, Told::Value { value, .. })) = ended {
                    reads.push((operation.begun, *at, value.as_deref().unwrap_or("-")));
                }
            }
            Ask::Do(_) | Ask::Stale(_) => {}
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    for (begun, ended, value) in reads {
        let zone = zones.get_mut(value).ok_or_else(|| format!("{key}: {value} was read and never written"))?;
        if ended < zone.2 {
            return Err(format!("{key}: {value} was read before it was written"));
        }
        (zone.0, zone.1) = (zone.0.min(ended), zone.1.max(begun));
        seen.insert(value);
    }
    // A write of unknown fate that nobody saw need not have happened.
    let zones: Vec<_> = zones.into_iter().filter(|(value, zone)| zone.0 != u64::MAX || seen.contains(value)).collect();
    for (at, (value, (end, begin, _))) in zones.iter().enumerate() {
        if end >= begin {
            continue;
        }
        for (other_at, (other, (other_end, other_begin, _))) in zones.iter().enumerate() {
            if at == other_at {
                continue;
            }
            let forward = other_end < other_begin;
            let overlap = forward && end < other_begin && other_end < begin;
            let within = !forward && end < other_begin && other_end < begin;
            if overlap || within {
                return Err(format!("{key}: no order explains both {value} and {other}"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(value: &str, begun: u64, ended: u64) -> Operation {
        let ask = Ask::Do(Command::Write { key: "k".into(), value: value.into() });
        let told = Told::Done { index: 0, at: 0, outcome: String::new() };
        Operation { ask, begun, ended: Some((ended, told)) }
    }

    fn read(value: &str, begun: u64, ended: u64) -> Operation {
        let value = Some(value.to_owned()).filter(|value| value != "-");
        let told = Told::Value { index: 0, time: 0, value };
        Operation { ask: Ask::Read("k".into()), begun, ended: Some((ended, told)) }
    }

    #[test]
    fn knows_good_histories_from_bad_ones() {
        let good =
            [write("a", 1, 4), read("-", 2, 3), read("a", 5, 6), write("b", 7, 12), read("a", 8, 9), read("b", 10, 11)];
        assert_eq!(linearizable(&good, "k"), Ok(()));
        let lost = [write("a", 1, 2), read("-", 3, 4)];
        assert!(linearizable(&lost, "k").is_err());
        let stale = [write("a", 1, 2), write("b", 3, 4), read("a", 5, 6)];
        assert!(linearizable(&stale, "k").is_err());
        let back = [write("a", 1, 2), write("b", 3, 20), read("b", 5, 6), read("a", 7, 8)];
        assert!(linearizable(&back, "k").is_err());
        let early = [read("a", 1, 2), write("a", 3, 4)];
        assert!(linearizable(&early, "k").is_err());
    }
}
