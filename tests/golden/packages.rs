//! Chaincode packages and their labels.

use opssc::fabric::names::Label;
use opssc::fabric::package::Package;
use opssc::fabric::package::ccaas::{self, Connection, Image};

use super::support::{Finding, agree, family, same, same_file};

pub(crate) fn labels() {
    family("labels", |case| {
        let entries = case.json(case.text("/input/file"));
        let wrong: Vec<&str> = entries
            .as_array()
            .expect("a list")
            .iter()
            .map(|entry| (entry["label"].as_str().unwrap(), entry["ok"].as_bool().unwrap()))
            .filter(|(label, ok)| Label::parse(*label).is_ok() != *ok)
            .map(|(label, _)| label)
            .collect();
        same("labels judged otherwise", &wrong, &Vec::new())
    });
}

pub(crate) fn package_parse() {
    family("package-parse", |case| {
        let Some(package) = agree(Package::read(case.bytes("package.tar.gz")), case.ok())? else { return Ok(()) };
        same("package ID", &package.id().as_str(), &case.text("/expected/package_id"))?;
        let expected = |key: &str| case.get(&format!("/expected/metadata/{key}")).as_str().unwrap_or_default();
        same("type", &package.kind(), &expected("type"))?;
        same("path", &package.path(), &expected("path"))?;
        same("label", &package.label().as_str(), &expected("label"))?;
        match case.get("/expected/code_length").as_u64() {
            Some(length) => same("length of the code", &(package.code().map_or(0, |code| code.len()) as u64), &length),
            None => Ok(()),
        }
    });
}

pub(crate) fn package_opssc_external() {
    family("package-opssc-external", |case| {
        let input = |key: &str| case.get(&format!("/input/{key}"));
        let service = |key: &str| case.get(&format!("/input/ccs/{key}")).as_str().unwrap_or_default();
        let name = input("chaincodeName").as_str().unwrap();
        let label = Label::parse(format!("{name}-{}", input("sequence"))).unwrap();
        same("label", &label.as_str(), &case.text("/expected/label"))?;
        let (package, file) = if let Some(digest) = input("digest").as_str() {
            let registry = [service("pullRegistry"), service("registry")];
            let registry = registry.into_iter().find(|registry| !registry.is_empty()).unwrap_or_default();
            let name = if registry.is_empty() { name.to_owned() } else { format!("{registry}/{name}") };
            (ccaas::image_package(&label, &Image { name, digest: digest.to_owned() }), "image.json")
        } else {
            let (prefix, suffix) = (service("servicePrefix"), service("serviceSuffix"));
            let (namespace, port) = (service("namespace"), case.get("/input/ccs/servicePort"));
            let address = format!("{prefix}-{name}-{suffix}.{namespace}:{port}");
            (ccaas::package(&label, &Connection::plain(address)), "connection.json")
        };
        check(&case.folder, &package.map_err(|error| error.to_string())?, file, case.text("/expected/metadata_json"))?;
        let sample = Package::read(case.bytes("sample.tgz")).map_err(|error| error.to_string())?;
        same("ID of the sample", &sample.id().as_str(), &case.text("/expected/package_id_of_this_sample"))
    });
}

fn check(folder: &std::path::Path, package: &Package, file: &str, metadata: &str) -> Finding {
    let files = package.code_files().map_err(|error| error.to_string())?;
    same("files", &files.keys().map(String::as_str).collect::<Vec<_>>(), &vec![file])?;
    same_file(&folder.join(file), &files[file])?;
    let outer = package.files().map_err(|error| error.to_string())?;
    let names: Vec<&str> = outer.iter().map(|(name, _)| name.as_str()).collect();
    same("files of the package", &names, &vec!["code.tar.gz", "metadata.json"])?;
    same_file(&folder.join("metadata.json"), &outer[1].1)?;
    same("metadata", &String::from_utf8_lossy(&outer[1].1).as_ref(), &metadata)
}
