//! Projects as trees in memory, compiled.

use super::*;

/// A project with a plain configuration; files on top of it, or in its place.
fn project(files: &[(&str, &str)]) -> MemoryTree {
    let mut tree = MemoryTree::new();
    tree.insert("package.json", r#"{"name": "a", "scripts": {"build": "tsc"}}"#).unwrap();
    tree.insert("tsconfig.json", config("")).unwrap();
    for (path, text) in files {
        tree.insert(*path, (*text).to_owned()).unwrap();
    }
    tree
}

fn config(more: &str) -> String {
    format!(
        r#"{{"compilerOptions": {{"outDir": "dist", "module": "commonjs", "target": "es2022", "strict": true,
            "experimentalDecorators": true, "emitDecoratorMetadata": true {more}}}}}"#
    )
}

fn built(files: &[(&str, &str)]) -> Result<Compiled, TypescriptError> {
    compile(&project(files), &Limits::default())
}

/// What one source becomes.
#[track_caller]
fn output(source: &str) -> String {
    let compiled = built(&[("a.ts", source)]).unwrap_or_else(|error| panic!("{source}: {}", chain(&error)));
    String::from_utf8(compiled.written()["dist/a.js"].to_vec()).unwrap()
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

#[track_caller]
fn refused(files: &[(&str, &str)], expected: &str) {
    let shown = built(files).map(|compiled| format!("{:?}", compiled.written().keys())).map_err(|error| chain(&error));
    assert_eq!(shown, Err(expected.to_owned()), "for {files:?}");
}

#[track_caller]
fn paths(files: &[(&str, &str)], expected: &[&str]) {
    let compiled = built(files).unwrap_or_else(|error| panic!("{files:?}: {}", chain(&error)));
    let written: Vec<&str> = compiled.written().keys().map(String::as_str).collect();
    assert_eq!(written, expected, "for {files:?}");
}

#[test]
fn files_go_where_tsc_puts_them() {
    let one = ("src/a.ts", "export const a = 1;");
    paths(&[one], &["dist/a.js"]);
    paths(&[one, ("b.ts", "")], &["dist/b.js", "dist/src/a.js"]);
    paths(&[one, ("src/deep/b.ts", "")], &["dist/a.js", "dist/deep/b.js"]);
    paths(&[one, ("tsconfig.json", &config(r#", "rootDir": ".""#))], &["dist/src/a.js"]);
    paths(&[one, ("tsconfig.json", r#"{"compilerOptions": {"module": "commonjs"}}"#)], &["src/a.js"]);
    paths(&[one, ("src/b.mts", ""), ("src/c.cts", "")], &["dist/a.js", "dist/b.mjs", "dist/c.cjs"]);
    paths(&[one, ("types/b.d.ts", "declare const b: number;")], &["dist/a.js"]);
    paths(&[one, ("node_modules/x/index.ts", "("), ("dist/b.ts", "(")], &["dist/a.js"]);
    paths(&[one, ("src/b.js", "("), (".hidden/c.ts", "(")], &["dist/a.js"]);
    paths(&[one, ("src/b.js", ""), ("tsconfig.json", &config(r#", "allowJs": true"#))], &["dist/a.js", "dist/b.js"]);
    let imports = ("src/a.ts", "import {b} from '../lib/b'; import c from '../c.json'; export const a = b + c.d;");
    let lib = ("lib/b.ts", "export const b = 1;");
    let json = ("c.json", "{\"d\": 1}");
    let included =
        format!("{}, \"include\": [\"src\"]}}", config(r#", "resolveJsonModule": true"#).strip_suffix('}').unwrap());
    paths(&[imports, lib, json, ("tsconfig.json", &included)], &["dist/c.json", "dist/lib/b.js", "dist/src/a.js"]);
    let mapped = config(r#", "baseUrl": ".", "paths": {"@lib/*": ["lib/*"]}, "rootDir": ".""#);
    let mapped = format!("{}, \"files\": [\"src/a.ts\"]}}", mapped.strip_suffix('}').unwrap());
    paths(&[("src/a.ts", "import '@lib/b'"), lib, ("tsconfig.json", &mapped)], &["dist/lib/b.js", "dist/src/a.js"]);
    // Since version 6 the folder of the configuration is the root.
    let six = r#"{"devDependencies": {"typescript": "^6.0.2"}, "scripts": {"build": "tsc"}}"#;
    paths(&[one, ("package.json", six)], &["dist/src/a.js"]);
}

#[test]
fn configurations_extend_each_other() {
    let one = ("src/a.ts", "export class A { a?: number; }");
    let table = [
        (r#"{"extends": "./base"}"#, "dist/a.js"),
        (r#"{"extends": ["./base.json"], "compilerOptions": {"outDir": "out"}}"#, "out/a.js"),
        (r#"{"extends": "@tsconfig/node18/tsconfig.json", "compilerOptions": {"outDir": "out"}}"#, "out/a.js"),
        (r#"{"compilerOptions": {"outDir": "${configDir}/out"}, "files": ["src/a.ts"],}"#, "out/a.js"),
    ];
    for (text, expected) in table {
        paths(&[one, ("base.json", &config("")), ("tsconfig.json", text)], &[expected]);
    }
    for (text, expected) in [
        (r#"{"extends": "./tsconfig.json"}"#, "tsconfig.json extends too long a chain of files"),
        (r#"{"extends": "../base.json"}"#, "`../base.json` lies outside of the sources"),
        (r#"{"extends": "/etc/passwd"}"#, "`/etc/passwd` lies outside of the sources"),
        (r#"{"extends": "./none"}"#, "none.json is not there"),
        (r#"{"extends": "company"}"#, "tsconfig.json extends `company`, a package that is not among the sources"),
        (r#"{"compilerOptions": {"outDir": "../out"}}"#, "`../out` lies outside of the sources"),
        (r#"{"compilerOptions": {"module": "amd"}}"#, "tsconfig.json has `amd` as module, which Node.js does not load"),
        (r#"{"compilerOptions": {"target": "es1"}}"#, "tsconfig.json has `es1` as target"),
        (
            r#"{"compilerOptions": {"outFile": "a.js"}}"#,
            "tsconfig.json has `outFile`: output in one file is not supported",
        ),
        (r#"{"compilerOptions": {"noEmit": true}}"#, "tsconfig.json has `noEmit`: it emits nothing"),
        (r#"{"references": [{"path": "b"}]}"#, "tsconfig.json references other projects, which are not built"),
        (r#"{"files": ["b.ts"]}"#, "b.ts is not there"),
        (r#"{"include": ["lib"]}"#, "no TypeScript is found for the configuration in ``"),
        (r#"{"compilerOptions": {"rootDir": "lib"}}"#, "src/a.ts is not below `lib`, the rootDir"),
        ("[]", "tsconfig.json is no object"),
    ] {
        refused(&[one, ("tsconfig.json", text)], expected);
    }
}

#[test]
fn what_cannot_be_compiled_is_refused() {
    refused(&[("a.ts", "const a = ;")], "a.ts, line 1: Expression expected");
    refused(&[("a.ts", "\n\nclass { }")], "a.ts, line 3: Expected ident");
    refused(&[("a.tsx", "<a/>")], "a.tsx holds JSX, which is not compiled");
    refused(
        &[("a.ts", "@b class A {}"), ("tsconfig.json", r#"{"compilerOptions": {"module": "commonjs"}}"#)],
        "a.ts has decorators, but experimentalDecorators is not set",
    );
    let main = r#"{"main": "dist/index.js", "scripts": {"build": "tsc"}}"#;
    refused(
        &[("a.ts", ""), ("package.json", main)],
        "dist/index.js, the `main` of package.json, is neither among the sources nor made by the build",
    );
    refused(
        &[("a.ts", ""), ("package.json", "{")],
        "package.json is no JSON: EOF while parsing an object at line 1 column 1",
    );
    let limits = Limits { files: 3, ..Limits::default() };
    let many = project(&[("a.ts", ""), ("b.ts", "")]);
    assert_eq!(compile(&many, &limits).unwrap_err().to_string(), "sources are larger than 3 files");
    let limits = Limits { file_bytes: 300, ..Limits::default() };
    let large = project(&[("a.ts", &"a;".repeat(200))]);
    let error = compile(&large, &limits).unwrap_err().to_string();
    assert_eq!(error, "sources are larger than 300 bytes in one file, as a.ts is");
}

#[test]
fn a_build_removes_what_it_says() {
    let tree = project(&[
        ("a.ts", "export {}"),
        ("dist/stale.js", ""),
        ("package.json", r#"{"main": "dist/a.js", "scripts": {"build": "eslint . && rimraf dist && tsc"}}"#),
    ]);
    let compiled = compile(&tree, &Limits::default()).unwrap();
    assert_eq!(compiled.skipped(), ["eslint ."]);
    let remaining = compiled.remaining(&tree);
    let packed = compiled.over(&remaining).unwrap();
    let mut left: Vec<_> = packed.entries("").unwrap().into_iter().map(|entry| entry.path).collect();
    left.sort();
    assert_eq!(left, ["a.ts", "dist/a.js", "package.json", "tsconfig.json"]);
    assert!(remaining.read("dist/stale.js").is_err() && remaining.entry("dist/stale.js").unwrap().is_none());
}

#[test]
fn imports_of_types_go_away() {
    let files = [
        (
            "a.ts",
            "import {T, C, E} from './b'; import type {D} from './b'; import {U} from './types';\nimport {Context} from 'fabric-contract-api'; import {X} from 'only-types';\ndeclare const m: any;\nexport class A { @m f(t: T, c: C, d: D, e: E, u: U, x: Context, y: X): T { return t; } }\nexport {T, U};",
        ),
        ("b.ts", "export interface T { a: string }\nexport class C {}\nexport class D {}\nexport enum E { A, B }"),
        ("types.d.ts", "export type U = string;"),
        ("package.json", r#"{"dependencies": {"fabric-contract-api": "2"}, "scripts": {"build": "tsc"}}"#),
    ];
    let compiled = built(&files).unwrap();
    let text = String::from_utf8(compiled.written()["dist/a.js"].to_vec()).unwrap();
    assert!(text.contains(r#"require("./b")"#) && text.contains(r#"require("fabric-contract-api")"#), "{text}");
    assert!(!text.contains("./types") && !text.contains("only-types"), "{text}");
    let types: String =
        text.split("design:paramtypes\", [").nth(1).unwrap().split(']').next().unwrap().split_whitespace().collect();
    let context = r#"typeof_fabriccontractapi.Context==="function"?_fabriccontractapi.Context:Object"#;
    assert_eq!(types, format!("Object,_b.C,Function,Number,String,{context},Object"));
    assert!(!text.contains("\"T\"") && !text.contains("U:"), "{text}");
}

#[test]
fn options_decide_what_is_written() {
    let with = |more: &str, source: &str| {
        let compiled = built(&[("a.ts", source), ("tsconfig.json", &config(more))]);
        let compiled = compiled.unwrap_or_else(|error| panic!("{source}: {}", chain(&error)));
        String::from_utf8(compiled.written()["dist/a.js"].to_vec()).unwrap()
    };
    assert!(with("", "export class A { a = 1; b: string; }").contains("a = 1;\n    b;"));
    let assigned = with(r#", "useDefineForClassFields": false"#, "export class A { a = 1; b: string; }");
    assert!(assigned.contains("this.a = 1") && !assigned.contains("b;"), "{assigned}");
    assert!(with(r#", "target": "es2020""#, "a ||= 1").contains("a || (a = 1)"));
    assert!(with(r#", "target": "es2015""#, "export async function f() {}").contains("function*"));
    assert!(with(r#", "target": "es5""#, "export const f = () => 1;").contains("=>"));
    assert!(with("", "// kept\nexport const a = 1;").contains("// kept"));
    assert!(!with(r#", "removeComments": true"#, "// gone\nexport const a = 1;").contains("gone"));
    assert!(with("", "import * as a from 'a'; a();").contains(r#"const _a = require("a")"#));
    assert!(with(r#", "esModuleInterop": true"#, "import a from 'a'; a();").contains("_interop_require_default"));
    assert!(
        with(r#", "module": "es2022""#, "import {a} from 'a'; export const b = a();").contains("import { a } from 'a'")
    );
    assert!(with(r#", "module": "node16""#, "export const b = import('a');").contains("import('a')"));
    assert!(output("a();").starts_with("\"use strict\";"));
    assert!(output("export const enum E { A = 3 }\nexport const b = E.A;").contains('3'));
    assert!(output("namespace N { export const a = 1; }\nexport const b = N.a;").contains("N || (N = {})"));
    assert!(output("import a = require('a'); export = a;").contains("module.exports = "));
    assert!(output("export class A { constructor(private readonly a: string) {} }").contains("this.a = a"));
    assert!(output("export abstract class A { abstract a(): void; declare b: number; }").contains("class A {\n}"));
}

/// Sources just below the limits of nesting go through every pass without the stack running out.
#[test]
fn the_stack_is_deep_enough_for_what_passes() {
    let chains = [
        ("!", 9_900),
        ("- ", 9_900),
        ("typeof ", 9_900),
        ("a=>", 4_900),
        ("a?b:", 2_400),
        ("a=", 4_900),
        ("a**", 3_200),
        ("a+", 4_900),
        ("a.", 4_900),
        ("a?.", 3_200),
        ("new ", 9_900),
        ("if(a)", 2_400),
        ("if(a)b;else ", 1_400),
        ("for(;;)", 1_900),
        ("while(a)", 2_400),
        ("f(", 190),
        ("[", 190),
        ("(", 190),
        ("async a=>", 3_200),
        ("a as b as ", 1_900),
        ("a&&b||", 1_600),
        ("`${", 190),
        ("function f(){", 190),
        ("class A{a=", 100),
        ("x=>{return ", 190),
        ("if(a){", 190),
        ("a,", 5_000),
        ("(a=>(", 95),
    ];
    for (link, count) in chains {
        let close: String = match link {
            "f(" | "(" => ")".repeat(count),
            "[" => "]".repeat(count),
            "`${" => "}`".repeat(count),
            "function f(){" | "class A{a=" | "x=>{return " | "if(a){" => "}".repeat(count),
            "(a=>(" => "))".repeat(count),
            _ => String::new(),
        };
        let source = format!("{}x{close};", link.repeat(count));
        // What is no program is refused by the parser, which recursed before it knew.
        if let Err(error) = built(&[("a.ts", &source)]) {
            assert!(matches!(error, TypescriptError::Syntax { .. }), "for {link}: {}", chain(&error));
        }
    }
    for (open, close) in
        [("A<", ">"), ("[", "]"), ("{a:", "}"), ("(", ")"), ("keyof ", ""), ("()=>", ""), ("B extends C?D:", "")]
    {
        let count = if close.is_empty() { 1_200 } else { 180 };
        let source = format!("type A = {}x{};", open.repeat(count), close.repeat(count));
        built(&[("a.ts", &source)]).unwrap_or_else(|error| panic!("for {open}: {}", chain(&error)));
        let decorated = format!("export class A {{ @b c: {}x{}; }}", open.repeat(count), close.repeat(count));
        built(&[("a.ts", &decorated)]).unwrap_or_else(|error| panic!("for {open}: {}", chain(&error)));
    }
    let members = format!("type A = x{};", "[]".repeat(4_000));
    built(&[("a.ts", &members)]).unwrap();
}

/// The worst that passes, of what the parser reads again and again.
#[test]
fn what_passes_is_compiled_in_time() {
    for (link, close) in [("a?(b):c=>", ""), ("<a>(", ")"), ("(a)=>(b)?(c):d=>", ""), ("a?<T>(b):c=>", "")] {
        for count in 1..=14 {
            let source = format!("{}x{};", link.repeat(count), close.repeat(count));
            if let Err(error) = built(&[("a.ts", &source)]) {
                let told = matches!(error, TypescriptError::Nesting { .. } | TypescriptError::Syntax { .. });
                assert!(told, "for {link}: {}", chain(&error));
            }
        }
    }
}
