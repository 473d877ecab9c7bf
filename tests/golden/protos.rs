//! Our protobuf definitions against the official descriptors.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use prost::Message as _;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet, ServiceDescriptorProto,
};

use super::support::root;

/// Everything that has a full name, as sorted lines of text.
type Shapes = BTreeMap<String, Vec<String>>;

pub(crate) fn protos() {
    let path = root().join("protos/fabric.binpb");
    let official = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let official = shapes(&FileDescriptorSet::decode(official.as_slice()).unwrap());
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fabric-protos");
    let mut files = Vec::new();
    definitions(&folder, &mut files);
    let ours = shapes(&protox::compile(&files, [&folder]).unwrap());
    assert!(ours.len() > 100, "only {} definitions in {}", ours.len(), folder.display());
    let mut findings = Vec::new();
    for (name, lines) in &ours {
        let Some(expected) = official.get(name) else {
            findings.push(format!("{name}: unknown to Fabric"));
            continue;
        };
        findings.extend(lines.iter().filter(|line| !expected.contains(line)).map(|line| format!("{name}: has {line}")));
        findings
            .extend(expected.iter().filter(|line| !lines.contains(line)).map(|line| format!("{name}: lacks {line}")));
    }
    assert!(findings.is_empty(), "{} differences\n{}", findings.len(), findings.join("\n"));
}

fn definitions(below: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(below).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            definitions(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            found.push(path);
        }
    }
}

fn shapes(set: &FileDescriptorSet) -> Shapes {
    let mut shapes = Shapes::new();
    for file in set.file.iter().filter(|file| !file.package().starts_with("google.")) {
        let package = file.package();
        file.message_type.iter().for_each(|message| add_message(package, message, &mut shapes));
        file.enum_type.iter().for_each(|item| add_enum(package, item, &mut shapes));
        file.service.iter().for_each(|service| add_service(package, service, &mut shapes));
        let syntax = shapes.entry(format!("syntax of package {package}")).or_default();
        if !syntax.contains(&file.syntax().to_owned()) {
            syntax.push(file.syntax().to_owned());
        }
    }
    for lines in shapes.values_mut() {
        lines.sort();
    }
    shapes
}

fn add_message(scope: &str, message: &DescriptorProto, shapes: &mut Shapes) {
    let name = format!("{scope}.{}", message.name());
    let lines = message.field.iter().map(|field| field_line(message, field)).collect();
    message.nested_type.iter().for_each(|nested| add_message(&name, nested, shapes));
    message.enum_type.iter().for_each(|nested| add_enum(&name, nested, shapes));
    shapes.insert(name, lines);
}

fn field_line(message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    let oneof = field
        .oneof_index
        .filter(|_| !field.proto3_optional())
        .and_then(|index| message.oneof_decl.get(usize::try_from(index).ok()?))
        .map_or("", |oneof| oneof.name());
    let optional = if field.proto3_optional() { " optional" } else { "" };
    format!(
        "field {} = {}: {:?} {:?} {} [{oneof}]{optional}",
        field.name(),
        field.number(),
        field.label(),
        field.r#type(),
        field.type_name()
    )
}

fn add_enum(scope: &str, item: &EnumDescriptorProto, shapes: &mut Shapes) {
    let lines = item.value.iter().map(|value| format!("value {} = {}", value.name(), value.number())).collect();
    shapes.insert(format!("{scope}.{}", item.name()), lines);
}

fn add_service(scope: &str, service: &ServiceDescriptorProto, shapes: &mut Shapes) {
    let lines = service.method.iter().map(|method| {
        let stream = |streaming| if streaming { "stream " } else { "" };
        format!(
            "rpc {}({}{}) returns ({}{})",
            method.name(),
            stream(method.client_streaming()),
            method.input_type(),
            stream(method.server_streaming()),
            method.output_type()
        )
    });
    shapes.insert(format!("{scope}.{}", service.name()), lines.collect());
}
