//! One source to JavaScript, by swc.
//!
//! What it emits behaves as the output of `tsc` under the same options; it does not look the same. It finds no type
//! errors: types are removed, not checked.
//!
//! Invariant: a source has passed [`nesting`](super::nesting) before swc sees it, and all of this runs on a stack that
//! is large enough for what passes there.

use swc_core::common::comments::SingleThreadedComments;
use swc_core::common::sync::Lrc;
use swc_core::common::{FileName, GLOBALS, Globals, Mark, SourceMap, Spanned as _};
use swc_core::ecma::ast::{EsVersion, Pass, Program};
use swc_core::ecma::codegen::text_writer::JsWriter;
use swc_core::ecma::codegen::{Config, Emitter, Node as _};
use swc_core::ecma::parser::error::Error as ParseError;
use swc_core::ecma::parser::{EsSyntax, Lexer, Parser, StringInput, Syntax, TsSyntax};
use swc_core::ecma::transforms::base::fixer::fixer;
use swc_core::ecma::transforms::base::helpers::{HELPERS, Helpers, inject_helpers};
use swc_core::ecma::transforms::base::hygiene::hygiene;
use swc_core::ecma::transforms::base::resolver;
use swc_core::ecma::transforms::compat::class_fields_use_set::class_fields_use_set;
use swc_core::ecma::transforms::compat::{es2016, es2017, es2018, es2019, es2020, es2021, es2022};
use swc_core::ecma::transforms::module::common_js::{Config as Requiring, FeatureFlag, common_js};
use swc_core::ecma::transforms::module::import_analysis::import_analyzer;
use swc_core::ecma::transforms::module::path::Resolver;
use swc_core::ecma::transforms::module::util::ImportInterop;
use swc_core::ecma::transforms::proposal::decorators::{Config as Decorating, decorators};
use swc_core::ecma::transforms::proposal::explicit_resource_management::explicit_resource_management;
use swc_core::ecma::transforms::typescript::{Config as Stripping, TsImportExportAssignConfig, typescript};

use super::TypescriptError;
use super::config::Options;
use super::files::Kind;
use super::nesting;

/// A source that was parsed.
pub(super) struct Parsed {
    pub(super) program: Program,
    comments: SingleThreadedComments,
    map: Lrc<SourceMap>,
}

/// Parses a source.
pub(super) fn parse(path: &str, kind: Kind, text: &str) -> Result<Parsed, TypescriptError> {
    nesting::check(text).map_err(|source| TypescriptError::Nesting { path: path.to_owned(), source })?;
    let map: Lrc<SourceMap> = Lrc::default();
    let file = map.new_source_file(Lrc::new(FileName::Custom(path.to_owned())), text.to_owned());
    let comments = SingleThreadedComments::default();
    let syntax = if kind.is_typescript() {
        Syntax::Typescript(TsSyntax { decorators: true, dts: kind == Kind::Declaration, ..TsSyntax::default() })
    } else {
        Syntax::Es(EsSyntax { decorators: true, import_attributes: true, ..EsSyntax::default() })
    };
    let lexer = Lexer::new(syntax, EsVersion::EsNext, StringInput::from(&*file), Some(&comments));
    let mut parser = Parser::new_from(lexer);
    let refuse = |error: &ParseError| TypescriptError::Syntax {
        path: path.to_owned(),
        line: map.lookup_char_pos(error.span().lo).line,
        what: bounded(&error.kind().msg()),
    };
    let program = parser.parse_program().map_err(|error| refuse(&error))?;
    if let Some(error) = parser.take_errors().first() {
        return Err(refuse(error));
    }
    Ok(Parsed { program, comments, map })
}

/// What swc says, which may repeat the source.
fn bounded(text: &str) -> String {
    text.chars().filter(|char| !char.is_control()).take(200).collect()
}

/// How a source is emitted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner<'a> {
    pub(super) options: &'a Options,
    pub(super) kind: Kind,
    /// As a `CommonJS` module, and not as the ES module that it was written as.
    pub(super) common_js: bool,
}

/// JavaScript for `parsed`. `prepare` works on the program once its names are resolved, before types are removed; it is
/// handed the mark of names that are declared nowhere.
pub(super) fn emit(
    parsed: Parsed,
    manner: Manner<'_>,
    prepare: impl FnOnce(&mut Program, Mark),
) -> Result<String, TypescriptError> {
    let Parsed { mut program, comments, map } = parsed;
    let script = matches!(program, Program::Script(_));
    let unresolved = Mark::new();
    let top_level = Mark::new();
    program.mutate(resolver(unresolved, top_level, manner.kind.is_typescript()));
    prepare(&mut program, unresolved);
    lower_types(&mut program, manner, unresolved, top_level);
    lower_syntax(&mut program, manner.options, unresolved);
    lower_modules(&mut program, manner, unresolved);
    program.mutate(hygiene());
    let comments = (!manner.options.remove_comments).then_some(comments);
    let comments = comments.as_ref().map(|comments| -> &dyn swc_core::common::comments::Comments { comments });
    program.mutate(fixer(comments));

    let mut code = Vec::new();
    if script && manner.common_js && manner.options.always_strict {
        code.extend_from_slice(b"\"use strict\";\n");
    }
    let writer = JsWriter::new(Lrc::clone(&map), "\n", &mut code, None);
    let mut emitter = Emitter { cfg: Config::default(), comments, cm: map, wr: writer };
    program.emit_with(&mut emitter).map_err(|error| TypescriptError::Broken { what: error.to_string() })?;
    String::from_utf8(code).map_err(|error| TypescriptError::Broken { what: error.to_string() })
}

/// Decorators to calls, types to nothing.
fn lower_types(program: &mut Program, manner: Manner<'_>, unresolved: Mark, top_level: Mark) {
    let options = manner.options;
    let decorated = Decorating {
        legacy: true,
        // Ours is nearer to that of tsc.
        emit_metadata: false,
        use_define_for_class_fields: options.define_fields(),
    };
    program.mutate(decorators(decorated));
    if manner.kind.is_typescript() {
        let assignments =
            if manner.common_js { TsImportExportAssignConfig::Preserve } else { TsImportExportAssignConfig::NodeNext };
        program.mutate(typescript(
            Stripping {
                verbatim_module_syntax: options.verbatim_module_syntax,
                native_class_properties: options.define_fields(),
                no_empty_export: false,
                import_export_assign_config: assignments,
                ..Stripping::default()
            },
            unresolved,
            top_level,
        ));
    }
    if !options.define_fields() {
        program.mutate(class_fields_use_set(false));
    }
}

/// What is newer than the target to what it knows. Nothing that runs chaincode today is older than ES2015.
fn lower_syntax(program: &mut Program, options: &Options, unresolved: Mark) {
    let below = |year: u16| options.target < year;
    let mut lower = |wanted: bool, pass: &mut dyn Pass| {
        if wanted {
            pass.process(program);
        }
    };
    lower(below(u16::MAX), &mut explicit_resource_management());
    let mut fields = es2022::Config::default();
    fields.class_properties.set_public_fields = !options.define_fields();
    lower(below(2022), &mut es2022(fields, unresolved));
    lower(below(2021), &mut es2021());
    lower(below(2020), &mut es2020(es2020::Config::default(), unresolved));
    lower(below(2019), &mut es2019());
    lower(below(2018), &mut es2018(es2018::Config::default()));
    lower(below(2017), &mut es2017(es2017::Config::default(), unresolved));
    lower(below(2016), &mut es2016());
}

fn lower_modules(program: &mut Program, manner: Manner<'_>, unresolved: Mark) {
    let options = manner.options;
    let interop = if options.es_module_interop { ImportInterop::Swc } else { ImportInterop::None };
    // Under the module kinds of newer versions of Node.js, a dynamic import stays one.
    let ignore_dynamic = options.module.is_node();
    if manner.common_js {
        program.mutate(import_analyzer(interop, ignore_dynamic));
    }
    program.mutate(inject_helpers(unresolved));
    if manner.common_js {
        let config = Requiring { import_interop: Some(interop), ignore_dynamic, ..Requiring::default() };
        let features = FeatureFlag { support_block_scoping: true, support_arrow: true };
        program.mutate(common_js(Resolver::Default, unresolved, config, features));
    }
}

/// Runs work that needs swc's tables of names.
pub(super) fn with_tables<T>(work: impl FnOnce() -> T) -> T {
    GLOBALS.set(&Globals::new(), || HELPERS.set(&Helpers::new(false), work))
}
