//! What the names of a module stand for: what it imports, declares and exports.
//!
//! A compiler that sees one file at a time cannot know whether an imported name is a class, which exists at run time,
//! or an interface, which does not, nor that an alias stands for a text. `tsc` knows, and what it writes for decorators
//! depends on it. So every module is read once before any is emitted; a type is kept as the [`Shape`] that it has at run
//! time, nothing more.

use std::collections::BTreeMap;

use swc_core::ecma::ast::{
    CallExpr, Callee, Decl, DefaultDecl, ExportSpecifier, Expr, ImportSpecifier, Lit, ModuleDecl, ModuleExportName,
    ModuleItem, Pat, Program, Stmt, Str, TsEntityName, TsEnumDecl, TsImportType, TsInterfaceDecl, TsKeywordTypeKind,
    TsLit, TsModuleDecl, TsModuleName, TsModuleRef, TsNamespaceBody, TsType, TsTypeElement, TsTypeOperatorOp,
    TsUnionOrIntersectionType,
};
use swc_core::ecma::visit::{Visit, VisitWith};

/// What a type is at run time. Bounded by the source that it was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shape {
    /// `void`, `undefined`, `null`
    Void,
    Never,
    Boolean,
    Number,
    BigInt,
    String,
    Array,
    Symbol,
    Function,
    Object,
    Union(Vec<Shape>),
    Intersection(Vec<Shape>),
    /// A name, such as `Asset` or `types.Asset`.
    Named(Vec<String>),
}

/// Something that a module or a namespace declares. One name may be declared several times, as a value and as a type.
#[derive(Debug, Clone, Default)]
pub(super) struct Declared {
    pub(super) class: bool,
    /// It is there at run time.
    pub(super) value: bool,
    /// What it is as a type, unless it is a class.
    pub(super) shape: Option<Shape>,
    /// What it holds as a namespace.
    pub(super) members: BTreeMap<String, Declared>,
}

/// What is imported under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Imported {
    /// Something that the module exports; `default` among them.
    Named(String),
    /// All of it.
    Whole,
}

#[derive(Debug, Clone)]
pub(super) struct Import {
    pub(super) source: String,
    pub(super) what: Imported,
    pub(super) type_only: bool,
}

/// Where an exported name comes from.
#[derive(Debug, Clone)]
pub(super) enum Export {
    Local(String),
    From(Import),
}

/// What one module says.
#[derive(Debug, Clone, Default)]
pub(super) struct Analysis {
    /// Modules that it names, as it names them.
    pub(super) requests: Vec<String>,
    pub(super) imports: BTreeMap<String, Import>,
    pub(super) declared: BTreeMap<String, Declared>,
    pub(super) exports: BTreeMap<String, Export>,
    /// Modules all of whose names it exports.
    pub(super) stars: Vec<String>,
    /// It has decorators.
    pub(super) decorated: bool,
}

/// Reads a module.
pub(super) fn analyse(program: &Program) -> Analysis {
    let mut analysis = Analysis::default();
    match program {
        Program::Module(module) => module.body.iter().for_each(|item| analysis.item(item)),
        Program::Script(script) => script.body.iter().for_each(|statement| analysis.statement(statement)),
    }
    let mut requests = Requests::default();
    program.visit_with(&mut requests);
    analysis.requests.extend(requests.found);
    analysis.requests.sort_unstable();
    analysis.requests.dedup();
    analysis.decorated = requests.decorated;
    analysis
}

impl Analysis {
    fn item(&mut self, item: &ModuleItem) {
        match item {
            ModuleItem::Stmt(statement) => self.statement(statement),
            ModuleItem::ModuleDecl(declaration) => self.module_declaration(declaration),
        }
    }

    fn statement(&mut self, statement: &Stmt) {
        if let Stmt::Decl(declaration) = statement {
            declare(&mut self.declared, declaration);
        }
    }

    fn module_declaration(&mut self, declaration: &ModuleDecl) {
        match declaration {
            ModuleDecl::Import(import) => {
                let source = text(&import.src);
                self.requests.push(source.clone());
                for specifier in &import.specifiers {
                    let (what, type_only) = match specifier {
                        ImportSpecifier::Named(named) => {
                            let name =
                                named.imported.as_ref().map_or_else(|| named.local.sym.to_string(), exported_name);
                            (Imported::Named(name), named.is_type_only)
                        }
                        ImportSpecifier::Default(_) => (Imported::Named("default".to_owned()), false),
                        ImportSpecifier::Namespace(_) => (Imported::Whole, false),
                    };
                    let type_only = type_only || import.type_only;
                    let local = specifier.local().sym.to_string();
                    self.imports.insert(local, Import { source: source.clone(), what, type_only });
                }
            }
            ModuleDecl::ExportDecl(export) => {
                for name in declare(&mut self.declared, &export.decl) {
                    self.exports.insert(name.clone(), Export::Local(name));
                }
            }
            ModuleDecl::ExportNamed(export) => {
                let source = export.src.as_deref().map(text);
                self.requests.extend(source.clone());
                for specifier in &export.specifiers {
                    let (name, what, type_only) = match specifier {
                        ExportSpecifier::Namespace(whole) => (exported_name(&whole.name), Imported::Whole, false),
                        ExportSpecifier::Default(default) => {
                            (default.exported.sym.to_string(), Imported::Named("default".to_owned()), false)
                        }
                        ExportSpecifier::Named(named) => {
                            let original = exported_name(&named.orig);
                            let name = named.exported.as_ref().map_or_else(|| original.clone(), exported_name);
                            (name, Imported::Named(original), named.is_type_only)
                        }
                    };
                    let type_only = type_only || export.type_only;
                    let target = match (&source, what) {
                        (Some(source), what) => Export::From(Import { source: source.clone(), what, type_only }),
                        (None, Imported::Named(local)) => Export::Local(local),
                        (None, Imported::Whole) => continue,
                    };
                    self.exports.insert(name, target);
                }
            }
            ModuleDecl::ExportAll(export) => {
                let source = text(&export.src);
                self.requests.push(source.clone());
                self.stars.push(source);
            }
            ModuleDecl::ExportDefaultDecl(export) => {
                let (name, declared) = match &export.decl {
                    DefaultDecl::Class(class) => (class.ident.as_ref(), Declared::of_class()),
                    DefaultDecl::Fn(function) => (function.ident.as_ref(), Declared::of_value()),
                    DefaultDecl::TsInterfaceDecl(interface) => (Some(&interface.id), Declared::of_interface(interface)),
                };
                let name = name.map_or_else(|| "default".to_owned(), |name| name.sym.to_string());
                self.declared.entry(name.clone()).or_default().merge(declared);
                self.exports.insert("default".to_owned(), Export::Local(name));
            }
            ModuleDecl::ExportDefaultExpr(export) => {
                let local = match &*export.expr {
                    Expr::Ident(name) => name.sym.to_string(),
                    _ => "default".to_owned(),
                };
                if local == "default" {
                    self.declared.entry(local.clone()).or_default().merge(Declared::of_value());
                }
                self.exports.insert("default".to_owned(), Export::Local(local));
            }
            ModuleDecl::TsImportEquals(import) => {
                if let TsModuleRef::TsExternalModuleRef(reference) = &import.module_ref {
                    let source = text(&reference.expr);
                    self.requests.push(source.clone());
                    let import_of = Import { source, what: Imported::Whole, type_only: import.is_type_only };
                    self.imports.insert(import.id.sym.to_string(), import_of);
                }
            }
            ModuleDecl::TsExportAssignment(_) | ModuleDecl::TsNamespaceExport(_) => {}
        }
    }
}

impl Declared {
    fn of_class() -> Self {
        Self { class: true, value: true, ..Self::default() }
    }

    fn of_value() -> Self {
        Self { value: true, ..Self::default() }
    }

    fn of_interface(interface: &TsInterfaceDecl) -> Self {
        let callable = interface.body.body.iter().any(|member| matches!(member, TsTypeElement::TsCallSignatureDecl(_)));
        Self { shape: Some(if callable { Shape::Function } else { Shape::Object }), ..Self::default() }
    }

    fn merge(&mut self, other: Self) {
        self.class |= other.class;
        self.value |= other.value;
        self.shape = other.shape.or_else(|| self.shape.take());
        for (name, member) in other.members {
            self.members.entry(name).or_default().merge(member);
        }
    }
}

/// Adds what a declaration declares, and tells the names.
fn declare(into: &mut BTreeMap<String, Declared>, declaration: &Decl) -> Vec<String> {
    let mut names = Vec::new();
    let mut add = |name: String, declared: Declared| {
        into.entry(name.clone()).or_default().merge(declared);
        names.push(name);
    };
    match declaration {
        Decl::Class(class) => add(class.ident.sym.to_string(), Declared::of_class()),
        Decl::Fn(function) => add(function.ident.sym.to_string(), Declared::of_value()),
        Decl::Var(variables) => {
            for variable in &variables.decls {
                bound_names(&variable.name, &mut |name| add(name, Declared::of_value()));
            }
        }
        Decl::Using(using) => {
            for variable in &using.decls {
                bound_names(&variable.name, &mut |name| add(name, Declared::of_value()));
            }
        }
        Decl::TsInterface(interface) => add(interface.id.sym.to_string(), Declared::of_interface(interface)),
        Decl::TsTypeAlias(alias) => {
            let declared = Declared { shape: Some(shape(&alias.type_ann)), ..Declared::default() };
            add(alias.id.sym.to_string(), declared);
        }
        Decl::TsEnum(enumeration) => {
            let shape = Some(enum_shape(enumeration));
            add(enumeration.id.sym.to_string(), Declared { value: true, shape, ..Declared::default() });
        }
        Decl::TsModule(module) => {
            if let Some((name, declared)) = namespace(module) {
                add(name, declared);
            }
        }
    }
    names
}

/// A namespace, which is there at run time when something in it is.
fn namespace(module: &TsModuleDecl) -> Option<(String, Declared)> {
    let TsModuleName::Ident(name) = &module.id else { return None };
    let mut members = BTreeMap::new();
    match module.body.as_ref() {
        Some(TsNamespaceBody::TsModuleBlock(block)) => {
            for item in &block.body {
                match item {
                    ModuleItem::ModuleDecl(ModuleDecl::ExportDecl(export)) => {
                        declare(&mut members, &export.decl);
                    }
                    ModuleItem::Stmt(Stmt::Decl(declaration)) => {
                        declare(&mut members, declaration);
                    }
                    _ => {}
                }
            }
        }
        Some(TsNamespaceBody::TsNamespaceDecl(inner)) => {
            members.insert(inner.id.sym.to_string(), Declared { value: true, ..Declared::default() });
        }
        None => {}
    }
    let value = members.values().any(|member| member.value);
    Some((name.sym.to_string(), Declared { value, members, ..Declared::default() }))
}

fn bound_names(pattern: &Pat, add: &mut dyn FnMut(String)) {
    // The names inside of patterns are never those of a type.
    if let Pat::Ident(name) = pattern {
        add(name.sym.to_string());
    }
}

/// The shape of an enumeration's members.
fn enum_shape(enumeration: &TsEnumDecl) -> Shape {
    let textual = |member: &swc_core::ecma::ast::TsEnumMember| member.init.as_deref().is_some_and(is_text);
    let texts = enumeration.members.iter().filter(|member| textual(member)).count();
    match texts {
        0 => Shape::Number,
        _ if texts == enumeration.members.len() => Shape::String,
        _ => Shape::Object,
    }
}

fn is_text(expression: &Expr) -> bool {
    match expression {
        Expr::Lit(Lit::Str(_)) | Expr::Tpl(_) => true,
        Expr::Paren(inner) => is_text(&inner.expr),
        Expr::Bin(both) => is_text(&both.left) || is_text(&both.right),
        _ => false,
    }
}

/// The shape of a type.
pub(super) fn shape(of: &TsType) -> Shape {
    match of {
        TsType::TsKeywordType(keyword) => match keyword.kind {
            TsKeywordTypeKind::TsNumberKeyword => Shape::Number,
            TsKeywordTypeKind::TsBooleanKeyword => Shape::Boolean,
            TsKeywordTypeKind::TsBigIntKeyword => Shape::BigInt,
            TsKeywordTypeKind::TsStringKeyword => Shape::String,
            TsKeywordTypeKind::TsSymbolKeyword => Shape::Symbol,
            TsKeywordTypeKind::TsVoidKeyword
            | TsKeywordTypeKind::TsUndefinedKeyword
            | TsKeywordTypeKind::TsNullKeyword => Shape::Void,
            TsKeywordTypeKind::TsNeverKeyword => Shape::Never,
            _ => Shape::Object,
        },
        TsType::TsFnOrConstructorType(_) => Shape::Function,
        TsType::TsArrayType(_) | TsType::TsTupleType(_) => Shape::Array,
        TsType::TsTypePredicate(predicate) => {
            if predicate.asserts {
                Shape::Void
            } else {
                Shape::Boolean
            }
        }
        TsType::TsLitType(literal) => match literal.lit {
            TsLit::Number(_) => Shape::Number,
            TsLit::Str(_) | TsLit::Tpl(_) => Shape::String,
            TsLit::Bool(_) => Shape::Boolean,
            TsLit::BigInt(_) => Shape::BigInt,
        },
        TsType::TsTypeRef(reference) => Shape::Named(entity(&reference.type_name)),
        TsType::TsUnionOrIntersectionType(TsUnionOrIntersectionType::TsUnionType(union)) => {
            Shape::Union(union.types.iter().map(|of| shape(of)).collect())
        }
        TsType::TsUnionOrIntersectionType(TsUnionOrIntersectionType::TsIntersectionType(both)) => {
            Shape::Intersection(both.types.iter().map(|of| shape(of)).collect())
        }
        TsType::TsConditionalType(condition) => {
            Shape::Union(vec![shape(&condition.true_type), shape(&condition.false_type)])
        }
        TsType::TsParenthesizedType(inner) => shape(&inner.type_ann),
        TsType::TsOptionalType(inner) => shape(&inner.type_ann),
        TsType::TsRestType(inner) => shape(&inner.type_ann),
        TsType::TsTypeOperator(operator) => match operator.op {
            TsTypeOperatorOp::ReadOnly => shape(&operator.type_ann),
            TsTypeOperatorOp::Unique => Shape::Symbol,
            TsTypeOperatorOp::KeyOf => Shape::Object,
        },
        _ => Shape::Object,
    }
}

/// The names of `a.b.c`.
pub(super) fn entity(name: &TsEntityName) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = name;
    loop {
        match rest {
            TsEntityName::Ident(first) => {
                names.push(first.sym.to_string());
                names.reverse();
                return names;
            }
            TsEntityName::TsQualifiedName(qualified) => {
                names.push(qualified.right.sym.to_string());
                rest = &qualified.left;
            }
        }
    }
}

pub(super) fn text(of: &Str) -> String {
    of.value.to_string_lossy().into_owned()
}

pub(super) fn exported_name(name: &ModuleExportName) -> String {
    match name {
        ModuleExportName::Ident(name) => name.sym.to_string(),
        ModuleExportName::Str(name) => text(name),
    }
}

/// Modules that are named within expressions and types, and whether anything is decorated.
#[derive(Debug, Default)]
struct Requests {
    found: Vec<String>,
    decorated: bool,
}

impl Visit for Requests {
    fn visit_call_expr(&mut self, call: &CallExpr) {
        if let (Callee::Import(_), Some(first)) = (&call.callee, call.args.first())
            && let Expr::Lit(Lit::Str(source)) = &*first.expr
        {
            self.found.push(text(source));
        }
        call.visit_children_with(self);
    }

    fn visit_ts_import_type(&mut self, import: &TsImportType) {
        self.found.push(text(&import.arg));
        import.visit_children_with(self);
    }

    fn visit_decorator(&mut self, decorator: &swc_core::ecma::ast::Decorator) {
        self.decorated = true;
        decorator.visit_children_with(self);
    }
}
