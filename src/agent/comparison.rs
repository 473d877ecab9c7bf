//! Whether all organizations have made the same package of the same sources.
//!
//! Pure. Every acknowledgement carries a package ID, and packages made of sources are the same everywhere when the
//! sources and the packager are. A difference is no error to Fabric, and agents of other makes package in other ways,
//! so it is told to people and stops nothing: somebody may have been given other sources than the ones voted for.

use std::collections::BTreeMap;

use crate::opssc::chaincode_ops::{History, PackageType, Task, TaskStatus};

use super::text;

/// Whether packages of this type are made of sources alone, and not of an organization's own settings.
pub(super) fn is_reproducible(package_type: &PackageType) -> bool {
    matches!(package_type, PackageType::Golang | PackageType::Javascript | PackageType::Typescript | PackageType::Java)
}

/// Which organizations acknowledged which package, in words fit to be shown, where they are not all the same.
pub(super) fn difference(proposal_id: &str, histories: &[History]) -> Option<String> {
    let mut packages: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for history in histories {
        let is_acknowledgement = history.proposal_id == proposal_id
            && history.task == Task::Acknowledge
            && history.status == TaskStatus::Success;
        if is_acknowledgement {
            packages.entry(package_id(&history.data)).or_default().push(text::bounded(&history.org_id, 60));
        }
    }
    if packages.len() < 2 {
        return None;
    }
    let told: Vec<String> = packages
        .into_iter()
        .map(|(package, mut organizations)| {
            organizations.sort_unstable();
            format!("{package} by {}", organizations.join(", "))
        })
        .collect();
    Some(text::bounded(&told.join("; "), text::ERROR_LIMIT))
}

/// The package ID in an acknowledgement's data; whoever tells none has its own place in the comparison.
fn package_id(data: &str) -> String {
    let data: Option<serde_json::Value> = serde_json::from_str(data).ok();
    let id = data.as_ref().and_then(|data| data.get("packageID")).and_then(serde_json::Value::as_str);
    id.filter(|id| !id.is_empty()).map_or_else(|| "no package ID".to_owned(), |id| text::bounded(id, 200))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acknowledged(org: &str, data: &str) -> History {
        History {
            doc_type: "history".to_owned(),
            proposal_id: "p".to_owned(),
            task: Task::Acknowledge,
            org_id: org.to_owned(),
            status: TaskStatus::Success,
            data: data.to_owned(),
            time: String::new(),
        }
    }

    #[test]
    fn a_difference_names_the_organizations() {
        let of = |org, id: &str| acknowledged(org, &format!("{{\"packageID\":\"{id}\"}}"));
        assert_eq!(difference("p", &[]), None);
        assert_eq!(difference("p", &[of("A", "a-1:00")]), None);
        assert_eq!(difference("p", &[of("A", "a-1:00"), of("B", "a-1:00")]), None);
        let told = difference("p", &[of("C", "a-1:00"), of("B", "a-1:11"), of("A", "a-1:00")]);
        assert_eq!(told.as_deref(), Some("a-1:00 by A, C; a-1:11 by B"));
        let told = difference("p", &[of("A", "a-1:00"), acknowledged("B", "done")]);
        assert_eq!(told.as_deref(), Some("a-1:00 by A; no package ID by B"));
    }

    #[test]
    fn only_acknowledgements_of_the_proposal_count() {
        let base = acknowledged("A", "{\"packageID\":\"a-1:00\"}");
        let other = acknowledged("B", "{\"packageID\":\"a-1:11\"}");
        let vote = History { task: Task::Vote, status: TaskStatus::Agreed, ..other.clone() };
        let failure = History { status: TaskStatus::Failure, ..other.clone() };
        let foreign = History { proposal_id: "p2".to_owned(), ..other };
        assert_eq!(difference("p", &[base, vote, failure, foreign]), None);
    }

    #[test]
    fn hostile_data_is_shown_bounded() {
        let long = format!("{{\"packageID\":\"{}\"}}", "\\u001b".repeat(1 << 16));
        let told = difference("p", &[acknowledged("A\u{1b}", &long), acknowledged("B", "[")]).unwrap();
        assert!(told.chars().count() <= text::ERROR_LIMIT && !told.contains('\u{1b}'), "{told}");
    }

    #[test]
    fn what_holds_an_organizations_own_settings_is_not_compared() {
        for (package_type, expected) in [
            ("golang", true),
            ("javascript", true),
            ("typescript", true),
            ("java", true),
            ("ccaas", false),
            ("k8s", false),
            ("x", false),
        ] {
            assert_eq!(is_reproducible(&package_type.into()), expected, "for {package_type}");
        }
    }
}
