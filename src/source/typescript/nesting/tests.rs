//! What passes and what does not, as tables.

use super::*;

#[track_caller]
fn accepted(source: &str) {
    assert_eq!(check(source), Ok(()), "for {}", source.chars().take(200).collect::<String>());
}

#[track_caller]
fn refused(source: &str, reason: &str) {
    let shown = check(source).map_err(|error| error.to_string());
    let start: String = source.chars().take(60).collect();
    assert!(shown.as_ref().is_err_and(|text| text.contains(reason)), "for {start}: {shown:?}");
}

#[test]
fn slashes_are_told_apart() {
    for source in [
        "a / b / c",
        "x = /[/\"'`({]/g.test(y) ? 1 : 2",
        "if (a) /[(]/.test(b)",
        "while (x()) /[{]/.exec(y)",
        "for await (const a of b) /[(]/.test(a)",
        "(a + b) / 2 // don't",
        "f(a)[0] / 2; /* it's */",
        "return /[(]/",
        "a.return / 2 / 'x'.length",
        "a.if(b) / 2 / 'x'.length",
        "x++ / 2",
        "y! / 2",
        "!/[(]/.test(x)",
        "[/a/, /[(]/]",
        "`a ${b / c} ${`d ${e}`} (((`",
        "'\\'(((' + \"\\\"(((\"",
        "'a\\\r\nb'",
        "a = b\n  ? /[(]/ : 2",
        "#!/usr/bin/env node (((\nf()",
        "\\u{61}bc()",
        "const greek = 'αβγ', αβ = 1 / 2;",
    ] {
        accepted(source);
    }
    for source in
        ["{}\n/a/", "let a: b\n/c/.d()", "x\n/a/", "a > /b/", "for (a of /b/) {}", "await /a/", "if (a) ++/b/.c"]
    {
        refused(source, "a slash");
    }
}

#[test]
fn what_is_not_closed_is_refused() {
    for source in ["'a", "'a\nb'", "`a", "`${", "`${}", "/* a", "x = /a\n/", ")", "(]", "}", "{)"] {
        let closed = check(source);
        // A file that ends too early is left to the parser.
        assert!(closed.is_err() || source == "`${", "for {source}");
    }
    for source in ["<<<<<<< ours", "a\n  >>>>>>> /*", "a <!-- b", "a\n --> b"] {
        refused(source, "a mark");
    }
}

#[test]
fn what_people_write_is_accepted() {
    let class = "@Info({title: 'a'})\nclass A<T extends B<C, D>> {\n  @Property()\n  a: string = 'x'\n  b(c: number): void {\n    if (c) { d() } else if (e) { f() } else { g() }\n  }\n}\n";
    accepted(&class.repeat(3000));
    accepted(&"a(b, c, {d: [e, f]});\n".repeat(50_000));
    accepted(&format!("const a = [{}];", "1, 2, 'c', ".repeat(50_000)));
    accepted(&format!("const a = 'b'{};", " + 'c'".repeat(4000)));
    accepted(&format!("{}x{}", "(".repeat(150), ")".repeat(150)));
}

#[test]
fn what_takes_the_parser_years_is_refused() {
    for link in ["a?(b):c=>", "<a>(", "(a)=>(b)?(c):d=>", "a ?\n\t(b):(c):d=>", "a?async(b):c=>", "a?/**/(b):c=>"] {
        refused(&format!("{}x", link.repeat(40)), "each in the other");
    }
    accepted(&"const a = b ? (c) : d\n".repeat(100));
    accepted(&"const a = b ? (c) : <D>d;\n".repeat(100));
    accepted(&format!("f({})", "a ? (b) : (c), ".repeat(100)));
    accepted(&"a<b>(".repeat(100));
}

#[test]
fn what_is_nested_too_deeply_is_refused() {
    for (open, close) in [("(", ")"), ("[", "]"), ("{", "}"), ("`${", "}`"), ("f({a:[", "]})"), ("(a=>{", "})")] {
        let source = format!("{}x{}", open.repeat(300), close.repeat(300));
        refused(&source, "more than 200 brackets");
    }
    for link in [
        "!",
        "- ",
        "typeof ",
        "await ",
        "a=>",
        "a?b:",
        "a=",
        "a**",
        "a+",
        "a.",
        "a?.",
        "f``",
        "new ",
        "if(a)",
        "if(a)b;else ",
        "for(;;)",
        "while(a)",
        "do ",
        "a:",
        "A<",
        "A<B,",
        "keyof ",
        "if(a){}else ",
        "a as b as ",
        "x as {} as ",
        "do{}while(a)do ",
        "a!.b",
        "A[]|",
        "else b; else ",
        "A extends B?C:",
        "f()",
    ] {
        refused(&format!("{}x", link.repeat(20_000)), "of more than");
    }
}
