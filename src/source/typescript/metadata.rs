//! What `emitDecoratorMetadata` has `tsc` write beside decorators: the types of properties, parameters and results.
//!
//! fabric-contract-api reads it with reflect-metadata to tell what a contract's functions take. swc can write it too, but
//! sees one file at a time; this follows names through all modules, as `tsc` does. A name that leads into a package is
//! looked at when the program runs: packages are not among the sources.
//!
//! Source: what `tsc` 5 emits, and the documentation of decorators in the handbook of TypeScript.

use std::collections::{BTreeMap, BTreeSet};

use swc_core::common::{DUMMY_SP, Mark, SyntaxContext};
use swc_core::ecma::ast::{
    ArrayLit, BinExpr, BinaryOp, CallExpr, Callee, Class, ClassMember, CondExpr, Decorator, Expr, ExprOrSpread,
    Function, Ident, IdentName, Lit, MemberExpr, MemberProp, MethodKind, Number, Param, ParamOrTsParamProp, Pat,
    Program, PropName, Str, TsEntityName, TsParamPropParam, TsType, TsTypeAnn, TsTypeParamDecl,
    TsUnionOrIntersectionType, UnaryExpr, UnaryOp,
};
use swc_core::ecma::transforms::base::enable_helper;
use swc_core::ecma::visit::{VisitMut, VisitMutWith as _};

use super::analysis::{Shape, entity, shape};
use super::program::{Meaning, Names};

/// Writes the metadata into `program`, as calls among the decorators.
pub(super) fn write(program: &mut Program, names: &Names<'_>, unresolved: Mark, types: bool) {
    program.visit_mut_with(&mut Writer { names, unresolved, types, parameters: Vec::new() });
}

struct Writer<'a> {
    names: &'a Names<'a>,
    /// The mark of names that are declared nowhere.
    unresolved: Mark,
    /// Types too, and not the decorators of parameters alone.
    types: bool,
    /// Type parameters that are in scope.
    parameters: Vec<BTreeSet<String>>,
}

impl VisitMut for Writer<'_> {
    fn visit_mut_class(&mut self, class: &mut Class) {
        self.parameters.push(type_parameters(class.type_params.as_deref()));
        class.visit_mut_children_with(self);
        self.class(class);
        self.parameters.pop();
    }
}

impl Writer<'_> {
    fn class(&mut self, class: &mut Class) {
        let accessors = self.accessors(class);
        let Class { body, decorators, .. } = class;
        for member in body {
            match member {
                ClassMember::Constructor(constructor) if constructor.body.is_some() => {
                    for (index, param) in constructor.params.iter_mut().enumerate() {
                        let own = match param {
                            ParamOrTsParamProp::TsParamProp(param) => &mut param.decorators,
                            ParamOrTsParamProp::Param(param) => &mut param.decorators,
                        };
                        decorators.extend(own.drain(..).map(|decorator| of_parameter(index, decorator)));
                    }
                    if self.types && !decorators.is_empty() {
                        let types = constructor.params.iter().map(|param| self.parameter_property(param)).collect();
                        decorators.push(metadata("design:paramtypes", list(types)));
                    }
                }
                ClassMember::Method(method) => {
                    let accessor = accessors.get(&(key(&method.key), method.is_static));
                    self.method(&mut method.function, method.kind, accessor);
                }
                ClassMember::ClassProp(property) if self.types && !property.decorators.is_empty() => {
                    let of = self.annotated(property.type_ann.as_deref());
                    property.decorators.push(metadata("design:type", of));
                }
                _ => {}
            }
        }
    }

    fn method(&mut self, function: &mut Function, kind: MethodKind, accessor: Option<&Accessor>) {
        self.parameters.push(type_parameters(function.type_params.as_deref()));
        for index in 0..function.params.len() {
            let own = std::mem::take(&mut function.params[index].decorators);
            function.decorators.extend(own.into_iter().map(|decorator| of_parameter(index, decorator)));
        }
        if self.types && !function.decorators.is_empty() {
            let parameters: Vec<Expr> = function.params.iter().map(|param| self.parameter(&param.pat)).collect();
            let written = match (kind, accessor) {
                (MethodKind::Method, _) => vec![
                    ("design:type", self.global("Function")),
                    ("design:paramtypes", list(parameters)),
                    ("design:returntype", self.result(function)),
                ],
                (_, Some(accessor)) => {
                    let taken = accessor.taken.iter().cloned().collect();
                    vec![("design:type", accessor.of.clone()), ("design:paramtypes", list(taken))]
                }
                (_, None) => Vec::new(),
            };
            function.decorators.extend(written.into_iter().map(|(name, of)| metadata(name, of)));
        }
        self.parameters.pop();
    }

    fn result(&self, function: &Function) -> Expr {
        match &function.return_type {
            Some(annotation) => self.type_of(&annotation.type_ann),
            None if function.is_async => self.global("Promise"),
            None => void(),
        }
    }

    /// The types of accessors: getter and setter of a name have one between them.
    fn accessors(&self, class: &Class) -> BTreeMap<(String, bool), Accessor> {
        let mut found: BTreeMap<(String, bool), Accessor> = BTreeMap::new();
        for member in &class.body {
            let ClassMember::Method(method) = member else { continue };
            let entry = || Accessor { of: self.global("Object"), taken: None };
            match method.kind {
                MethodKind::Method => {}
                MethodKind::Getter => {
                    let accessor = found.entry((key(&method.key), method.is_static)).or_insert_with(entry);
                    if accessor.taken.is_none() {
                        accessor.of = self.annotated(method.function.return_type.as_deref());
                    }
                }
                MethodKind::Setter => {
                    let accessor = found.entry((key(&method.key), method.is_static)).or_insert_with(entry);
                    if let Some(param) = method.function.params.first() {
                        let of = self.parameter(&param.pat);
                        if annotation(&param.pat).is_some() || accessor.taken.is_none() {
                            accessor.of = of.clone();
                        }
                        accessor.taken = Some(of);
                    }
                }
            }
        }
        found
    }

    fn parameter_property(&self, param: &ParamOrTsParamProp) -> Expr {
        match param {
            ParamOrTsParamProp::Param(Param { pat, .. }) => self.parameter(pat),
            ParamOrTsParamProp::TsParamProp(param) => match &param.param {
                TsParamPropParam::Ident(name) => self.annotated(name.type_ann.as_deref()),
                TsParamPropParam::Assign(assigned) => self.parameter(&assigned.left),
            },
        }
    }

    fn parameter(&self, pattern: &Pat) -> Expr {
        // What is collected into the rest has the type of one element.
        if let Pat::Rest(rest) = pattern {
            let element = match rest.type_ann.as_deref().map(|annotation| &*annotation.type_ann) {
                Some(TsType::TsArrayType(array)) => Some(&*array.elem_type),
                Some(TsType::TsTypeRef(reference)) => {
                    reference.type_params.as_deref().and_then(|arguments| arguments.params.first()).map(|of| &**of)
                }
                _ => None,
            };
            return element.map_or_else(|| self.global("Object"), |of| self.type_of(of));
        }
        self.annotated(annotation(pattern))
    }

    fn annotated(&self, annotation: Option<&TsTypeAnn>) -> Expr {
        annotation.map_or_else(|| self.global("Object"), |annotation| self.type_of(&annotation.type_ann))
    }

    /// What stands for a type at run time.
    fn type_of(&self, of: &TsType) -> Expr {
        match of {
            TsType::TsTypeRef(reference) => self.named(&reference.type_name),
            TsType::TsParenthesizedType(inner) => self.type_of(&inner.type_ann),
            TsType::TsOptionalType(inner) => self.type_of(&inner.type_ann),
            TsType::TsUnionOrIntersectionType(TsUnionOrIntersectionType::TsUnionType(union)) => {
                self.together(union.types.iter().map(|of| &**of), false)
            }
            TsType::TsUnionOrIntersectionType(TsUnionOrIntersectionType::TsIntersectionType(both)) => {
                self.together(both.types.iter().map(|of| &**of), true)
            }
            TsType::TsConditionalType(condition) => {
                self.together([&*condition.true_type, &*condition.false_type].into_iter(), false)
            }
            other => self.plain(&shape(other)),
        }
    }

    /// What stands for several types at once: the one that they all are, or `Object`.
    fn together<'t>(&self, types: impl Iterator<Item = &'t TsType>, intersection: bool) -> Expr {
        let object = || self.global("Object");
        let mut found: Option<Expr> = None;
        for of in types {
            let direct = without_parentheses(of);
            match shape(direct) {
                Shape::Never if intersection => return void(),
                Shape::Never => continue,
                Shape::Void if !self.names.strict_null_checks() && is_null(direct) => continue,
                _ => {}
            }
            if let TsType::TsKeywordType(keyword) = direct
                && keyword.kind == swc_core::ecma::ast::TsKeywordTypeKind::TsUnknownKeyword
                && intersection
            {
                continue;
            }
            let one = self.type_of(direct);
            if is_name(&one, "Object") {
                return one;
            }
            match &found {
                None => found = Some(one),
                Some(before) if same(before, &one) => {}
                Some(_) => return object(),
            }
        }
        found.unwrap_or_else(void)
    }

    fn named(&self, name: &TsEntityName) -> Expr {
        let path = entity(name);
        if let [single] = path.as_slice()
            && self.parameters.iter().any(|level| level.contains(single))
        {
            return self.global("Object");
        }
        match self.names.meaning(&path) {
            Meaning::Class => member(name),
            Meaning::Plain(shape) => self.plain(&shape),
            Meaning::Unknown => self.checked(name),
        }
    }

    fn plain(&self, shape: &Shape) -> Expr {
        self.global(match shape {
            Shape::Void | Shape::Never => return void(),
            Shape::Boolean => "Boolean",
            Shape::Number => "Number",
            Shape::BigInt => "BigInt",
            Shape::String => "String",
            Shape::Array => "Array",
            Shape::Symbol => "Symbol",
            Shape::Function => "Function",
            Shape::Object | Shape::Union(_) | Shape::Intersection(_) | Shape::Named(_) => "Object",
        })
    }

    /// `typeof a === "function" ? a : Object`, where nothing of `a` need exist.
    fn checked(&self, name: &TsEntityName) -> Expr {
        let is = |of: Expr, op, what: &str| -> Expr {
            let kind = UnaryExpr { span: DUMMY_SP, op: UnaryOp::TypeOf, arg: Box::new(of) };
            let text = Expr::Lit(Lit::Str(Str { span: DUMMY_SP, value: what.into(), raw: None }));
            BinExpr { span: DUMMY_SP, op, left: Box::new(kind.into()), right: Box::new(text) }.into()
        };
        let mut test = is(member(name), BinaryOp::EqEqEq, "function");
        let mut outer = name;
        while let TsEntityName::TsQualifiedName(qualified) = outer {
            outer = &qualified.left;
            let exists = is(member(outer), BinaryOp::NotEqEq, "undefined");
            test = BinExpr { span: DUMMY_SP, op: BinaryOp::LogicalAnd, left: Box::new(exists), right: Box::new(test) }
                .into();
        }
        let object = Box::new(self.global("Object"));
        CondExpr { span: DUMMY_SP, test: Box::new(test), cons: Box::new(member(name)), alt: object }.into()
    }

    fn global(&self, name: &str) -> Expr {
        Ident::new(name.into(), DUMMY_SP, SyntaxContext::empty().apply_mark(self.unresolved)).into()
    }
}

#[derive(Debug)]
struct Accessor {
    of: Expr,
    /// What the setter takes.
    taken: Option<Expr>,
}

fn type_parameters(declared: Option<&TsTypeParamDecl>) -> BTreeSet<String> {
    let params = declared.into_iter().flat_map(|declared| &declared.params);
    params.map(|param| param.name.sym.to_string()).collect()
}

fn key(name: &PropName) -> String {
    match name {
        PropName::Ident(name) => name.sym.to_string(),
        PropName::Str(name) => super::analysis::text(name),
        PropName::Num(number) => number.value.to_string(),
        // No other accessor has the same name for certain.
        PropName::Computed(computed) => format!("[{}]", computed.span.lo.0),
        PropName::BigInt(number) => number.value.to_string(),
    }
}

fn annotation(pattern: &Pat) -> Option<&TsTypeAnn> {
    match pattern {
        Pat::Ident(name) => name.type_ann.as_deref(),
        Pat::Array(array) => array.type_ann.as_deref(),
        Pat::Object(object) => object.type_ann.as_deref(),
        Pat::Assign(assigned) => annotation(&assigned.left),
        Pat::Rest(_) | Pat::Invalid(_) | Pat::Expr(_) => None,
    }
}

fn without_parentheses(mut of: &TsType) -> &TsType {
    while let TsType::TsParenthesizedType(inner) = of {
        of = &inner.type_ann;
    }
    of
}

fn is_null(of: &TsType) -> bool {
    use swc_core::ecma::ast::TsKeywordTypeKind::{TsNullKeyword, TsUndefinedKeyword};
    matches!(of, TsType::TsKeywordType(keyword) if matches!(keyword.kind, TsNullKeyword | TsUndefinedKeyword))
}

fn is_name(expression: &Expr, name: &str) -> bool {
    matches!(expression, Expr::Ident(ident) if &*ident.sym == name)
}

/// Whether two types are the same at run time.
fn same(left: &Expr, right: &Expr) -> bool {
    match (left, right) {
        (Expr::Ident(left), Expr::Ident(right)) => left.to_id() == right.to_id(),
        (Expr::Unary(_), Expr::Unary(_)) => true,
        (Expr::Member(left), Expr::Member(right)) => match (&left.prop, &right.prop) {
            (MemberProp::Ident(a), MemberProp::Ident(b)) => a.sym == b.sym && same(&left.obj, &right.obj),
            _ => false,
        },
        (Expr::Cond(left), Expr::Cond(right)) => same(&left.cons, &right.cons),
        _ => false,
    }
}

fn void() -> Expr {
    let zero = Lit::Num(Number { span: DUMMY_SP, value: 0.0, raw: None });
    UnaryExpr { span: DUMMY_SP, op: UnaryOp::Void, arg: Box::new(zero.into()) }.into()
}

/// A name of types as an expression.
fn member(name: &TsEntityName) -> Expr {
    match name {
        TsEntityName::Ident(name) => {
            let mut name = name.clone();
            name.optional = false;
            name.into()
        }
        TsEntityName::TsQualifiedName(qualified) => MemberExpr {
            span: DUMMY_SP,
            obj: Box::new(member(&qualified.left)),
            prop: MemberProp::Ident(IdentName::new(qualified.right.sym.clone(), DUMMY_SP)),
        }
        .into(),
    }
}

fn list(items: Vec<Expr>) -> Expr {
    let elems = items.into_iter().map(|item| Some(argument(item))).collect();
    ArrayLit { span: DUMMY_SP, elems }.into()
}

fn argument(of: Expr) -> ExprOrSpread {
    ExprOrSpread { spread: None, expr: Box::new(of) }
}

fn metadata(name: &str, of: Expr) -> Decorator {
    let name = Expr::Lit(Lit::Str(Str { span: DUMMY_SP, value: name.into(), raw: None }));
    let mark = enable_helper!(ts_metadata);
    call("_ts_metadata", mark, vec![argument(name), argument(of)])
}

fn of_parameter(index: usize, decorator: Decorator) -> Decorator {
    #[allow(clippy::cast_precision_loss, reason = "no function has so many parameters")]
    let index = Expr::Lit(Lit::Num(Number { span: DUMMY_SP, value: index as f64, raw: None }));
    let mark = enable_helper!(ts_param);
    call("_ts_param", mark, vec![argument(index), ExprOrSpread { spread: None, expr: decorator.expr }])
}

fn call(helper: &str, mark: Mark, args: Vec<ExprOrSpread>) -> Decorator {
    let callee = Ident::new(helper.into(), DUMMY_SP, SyntaxContext::empty().apply_mark(mark));
    let call = CallExpr { callee: Callee::Expr(Box::new(callee.into())), args, ..CallExpr::default() };
    Decorator { span: DUMMY_SP, expr: Box::new(call.into()) }
}
