//! Imports of what turns out to be a type.
//!
//! An import that is used as a type only goes away by itself. One that is exported again, or that is named in what is
//! written for decorators, stays unless somebody knows that there is nothing behind it at run time; then the module
//! itself may not even exist, as with declarations.

use swc_core::ecma::ast::{ExportSpecifier, ImportSpecifier, ModuleDecl, ModuleItem, NamedExport, Program};

use super::analysis::{exported_name, text};
use super::program::Names;

/// Marks what is imported, or exported again, and is no more than a type.
pub(super) fn mark_types(program: &mut Program, names: &Names<'_>) {
    let Program::Module(module) = program else { return };
    for item in &mut module.body {
        match item {
            ModuleItem::ModuleDecl(ModuleDecl::Import(import)) => {
                let source = text(&import.src);
                for specifier in &mut import.specifiers {
                    if let ImportSpecifier::Named(named) = specifier {
                        let name = named.imported.as_ref().map_or_else(|| named.local.sym.to_string(), exported_name);
                        named.is_type_only |= names.is_type(&source, &name);
                    }
                }
            }
            ModuleItem::ModuleDecl(ModuleDecl::ExportNamed(export)) => mark_exports(export, names),
            _ => {}
        }
    }
}

fn mark_exports(export: &mut NamedExport, names: &Names<'_>) {
    let source = export.src.as_deref().map(text);
    for specifier in &mut export.specifiers {
        if let ExportSpecifier::Named(named) = specifier {
            let name = exported_name(&named.orig);
            named.is_type_only |= match &source {
                Some(source) => names.is_type(source, &name),
                None => names.is_local_type(&name),
            };
        }
    }
}
