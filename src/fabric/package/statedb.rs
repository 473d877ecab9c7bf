//! The files of META-INF: index definitions for `CouchDB`, checked as the peer checks them when it installs.
//!
//! A module of its own because a package with one bad index is refused whole, late, on the peer.
//!
//! Source: Fabric 3.1.5 `internal/ccmetadata`.

use serde_json::{Map, Value};

use super::metadata::parsable;
use super::pack::PackError;
use super::sources::{SourceEntry, SourceError, SourceTree};

const ROOT: &str = "META-INF/statedb";
const INDEXES: &str = "META-INF/statedb/couchdb/indexes/";
const COLLECTIONS: &str = "META-INF/statedb/couchdb/collections/";
/// Far above any index definition.
const LONGEST: u64 = 1 << 20;

/// Checks `file`, which is to be packaged as `name`.
pub(super) fn check_metadata(tree: &dyn SourceTree, name: &str, file: &SourceEntry) -> Result<(), PackError> {
    if file.size > LONGEST {
        return Err(SourceError::TooLarge { what: format!("{LONGEST} bytes at {name}") }.into());
    }
    check_metadata_file(name, &tree.read(&file.path)?).map_err(|reason| PackError::Metadata { reason })
}

/// Checks a file of META-INF by its path in the package and its contents.
///
/// # Errors
/// What is wrong, in Fabric's words. Null where Fabric expects something else is refused; Fabric breaks down there.
pub fn check_metadata_file(path: &str, contents: &[u8]) -> Result<(), String> {
    if !is_index(path) {
        return Err(misplaced(path));
    }
    let text = parsable(contents);
    let index: Option<Map<String, Value>> =
        serde_json::from_str(&text).map_err(|_| format!("Index metadata file [{path}] is not a valid JSON"))?;
    check_index(&index.unwrap_or_default())
        .map_err(|reason| format!("Index metadata file [{path}] is not a valid index definition: {reason}"))
}

/// Whether a file is where indexes are: the name has to hold `.json`, not to end in it.
fn is_index(path: &str) -> bool {
    let named = |name: &str| name.split('\n').next().is_some_and(|line| line.contains(".json"));
    if let Some(name) = path.strip_prefix(INDEXES) {
        return named(name);
    }
    let Some((collection, rest)) = path.strip_prefix(COLLECTIONS).and_then(|rest| rest.split_once('/')) else {
        return false;
    };
    is_collection(collection) && rest.strip_prefix("indexes/").is_some_and(named)
}

fn is_collection(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|char| char.is_ascii_alphanumeric() || matches!(char, '_' | '-'))
}

fn misplaced(path: &str) -> String {
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    let shown = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    if !path.starts_with(ROOT) {
        return format!("metadata file path must begin with META-INF/statedb, found: {shown}");
    }
    let names: Vec<&str> = folder.split('/').filter(|name| !matches!(*name, "" | ".")).collect();
    match names.as_slice() {
        [_, _, database, _, ..] if *database != "couchdb" => {
            format!("database name [{database}] is not supported, valid options: [couchdb]")
        }
        [_, _, _, indexes] if *indexes != "indexes" => {
            format!("metadata file path does not have an indexes directory: {shown}")
        }
        [_, _, _, "collections", collection, "indexes"] => {
            if !collection.starts_with(|char: char| char.is_ascii_alphanumeric() || matches!(char, '_' | '-')) {
                format!("collection name is not valid: {collection}")
            } else if !file.contains(".json") {
                format!("artifact file name is not valid: {file}")
            } else {
                format!("metadata file path or name is not supported: {shown}")
            }
        }
        [_, _, _, _, _, _] => {
            format!("metadata file path for collections must have a collections and indexes directory: {shown}")
        }
        [_, _, _, _, ..] => {
            format!("metadata file path for collections must include a collections and index directory: {shown}")
        }
        _ => format!("metadata file path must include a database and index directory: {shown}"),
    }
}

fn check_index(index: &Map<String, Value>) -> Result<(), String> {
    for (key, value) in index {
        match (key.as_str(), value) {
            ("index", Value::Object(index)) => check_fields(index)?,
            ("index", _) => return Err("Invalid entry, \"index\" must be a JSON".to_owned()),
            ("ddoc" | "name", Value::String(_)) => {}
            ("ddoc" | "name", _) => return Err(format!("Invalid entry, \"{key}\" must be a string")),
            ("type", value) if value == "json" => {}
            ("type", _) => return Err("Index type must be json".to_owned()),
            _ => return Err(format!("Invalid Entry.  Entry {key}")),
        }
    }
    if index.contains_key("index") {
        Ok(())
    } else {
        Err("Index definition must include a \"fields\" definition".to_owned())
    }
}

fn check_fields(index: &Map<String, Value>) -> Result<(), String> {
    for (key, value) in index {
        let fields = match (key.as_str(), value) {
            ("fields", Value::Array(fields)) => fields,
            ("fields", _) => return Err("Expecting a JSON array of fields".to_owned()),
            ("partial_filter_selector", _) => continue,
            _ => return Err(format!("Invalid Entry.  Entry {key}")),
        };
        for field in fields {
            match field {
                Value::Object(sorts) => sorts.values().try_for_each(check_sort)?,
                Value::Null => return Err("Invalid field definition, a field must not be null".to_owned()),
                // Fabric takes numbers and the like; CouchDB will tell.
                _ => {}
            }
        }
    }
    Ok(())
}

fn check_sort(sort: &Value) -> Result<(), String> {
    let Value::String(sort) = sort else {
        return Err("Invalid field definition, fields must be in the form \"fieldname\":\"sort\"".to_owned());
    };
    match sort.to_lowercase().as_str() {
        "asc" | "desc" => Ok(()),
        _ => Err(format!("Sort must be either \"asc\" or \"desc\".  \"{sort}\" was found.")),
    }
}
