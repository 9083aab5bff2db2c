/* tests/base/test_toml.c: the TOML reader against the grammar of TOML 1.0, case by case; whole files are in
 * toml/valid (with the tree as JSON beside) and toml/invalid (with the message beside).
 * SPDX-License-Identifier: Apache-2.0 */
#include "base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* Escapes in `toml` are C's. */
static const struct { const char *name, *toml, *json; } valid[] = {
    {"an empty document", "", "{}"},
    {"only a comment", "# x", "{}"},
    {"only blank lines", " \n\t\n\r\n", "{}"},
    {"a comment with all of UTF-8", "# \xc3\xa9\t\xf0\x9f\x98\x80\na=1", "{\"a\":1}"},
    {"no newline at the end", "a = 1", "{\"a\":1}"},
    {"white space around everything", "\t a \t= \t1 \t# c\n", "{\"a\":1}"},
    {"no white space at all", "a=1#c\nb=2", "{\"a\":1,\"b\":2}"},

    {"a bare key of digits", "1234 = 1", "{\"1234\":1}"},
    {"a bare key of dashes", "-_- = 1", "{\"-_-\":1}"},
    {"an upper-case key is another key", "a = 1\nA = 2", "{\"a\":1,\"A\":2}"},
    {"a quoted key", "\"a b\" = 1", "{\"a b\":1}"},
    {"a quoted key with an escape", "\"\\u00e9\" = 1", "{\"\xc3\xa9\":1}"},
    {"a literal key", "'a\\b' = 1", "{\"a\\\\b\":1}"},
    {"an empty key", "\"\" = 1", "{\"\":1}"},
    {"a key named like a value", "true = 1\ninf = 2\n1979-05-27 = 3", "{\"true\":1,\"inf\":2,\"1979-05-27\":3}"},
    {"a dotted key", "a.b.c = 1", "{\"a\":{\"b\":{\"c\":1}}}"},
    {"a dotted key with white space", "a . \"b\"\t.\tc = 1", "{\"a\":{\"b\":{\"c\":1}}}"},
    {"a dotted key that looks like a float", "3.14 = 1", "{\"3\":{\"14\":1}}"},
    {"a quoted dot does not split", "\"a.b\".c = 1", "{\"a.b\":{\"c\":1}}"},
    {"dotted keys add to each other", "a.b = 1\nx = 2\na.c = 3", "{\"a\":{\"b\":1,\"c\":3},\"x\":2}"},
    {"dotted keys at several depths", "a.b.c = 1\na.d = 2", "{\"a\":{\"b\":{\"c\":1},\"d\":2}}"},

    {"a basic string", "a = \"x\"", "{\"a\":\"x\"}"},
    {"an empty basic string", "a = \"\"", "{\"a\":\"\"}"},
    {"every short escape", "a = \"\\b\\t\\n\\f\\r\\\"\\\\\"", "{\"a\":\"\\b\\t\\n\\f\\r\\\"\\\\\"}"},
    {"a \\u escape", "a = \"\\u00E9\\u20ac\"", "{\"a\":\"\xc3\xa9\xe2\x82\xac\"}"},
    {"a \\U escape", "a = \"\\U0001F600\"", "{\"a\":\"\xf0\x9f\x98\x80\"}"},
    {"the ends of the surrogates", "a = \"\\uD7FF\\uE000\"", "{\"a\":\"\xed\x9f\xbf\xee\x80\x80\"}"},
    {"the last character", "a = \"\\U0010FFFF\"", "{\"a\":\"\xf4\x8f\xbf\xbf\"}"},
    {"a hash in a string", "a = \"# no comment\"", "{\"a\":\"# no comment\"}"},
    {"a tab in a string", "a = \"x\ty\"", "{\"a\":\"x\\ty\"}"},
    {"a literal string", "a = '\\n \"x\"'", "{\"a\":\"\\\\n \\\"x\\\"\"}"},
    {"an empty literal string", "a = ''", "{\"a\":\"\"}"},
    {"a multi-line basic string", "a = \"\"\"x\ny\"\"\"", "{\"a\":\"x\\ny\"}"},
    {"its first newline is dropped", "a = \"\"\"\nx\n\"\"\"", "{\"a\":\"x\\n\"}"},
    {"only its first newline is dropped", "a = \"\"\"\n\nx\"\"\"", "{\"a\":\"\\nx\"}"},
    {"an empty multi-line string", "a = \"\"\"\"\"\"", "{\"a\":\"\"}"},
    {"a line-ending backslash", "a = \"\"\"x \\\n   y\"\"\"", "{\"a\":\"x y\"}"},
    {"a line-ending backslash over blank lines", "a = \"\"\"x\\  \n\n \t\n  y\"\"\"", "{\"a\":\"xy\"}"},
    {"a line-ending backslash at the end", "a = \"\"\"x\\\n\"\"\"", "{\"a\":\"x\"}"},
    {"an escaped backslash ends no line", "a = \"\"\"x\\\\\ny\"\"\"", "{\"a\":\"x\\\\\\ny\"}"},
    {"quotes in a multi-line string", "a = \"\"\"x\"y\"\"z\"\"\"", "{\"a\":\"x\\\"y\\\"\\\"z\"}"},
    {"one quote before the end", "a = \"\"\"x\"\"\"\"", "{\"a\":\"x\\\"\"}"},
    {"two quotes before the end", "a = \"\"\"x\"\"\"\"\"", "{\"a\":\"x\\\"\\\"\"}"},
    {"a quote after the beginning", "a = \"\"\"\"x\"\"\"", "{\"a\":\"\\\"x\"}"},
    {"an escaped quote among quotes", "a = \"\"\"\"\"\\\"\"\"\"", "{\"a\":\"\\\"\\\"\\\"\"}"},
    {"CRLF in a multi-line string is one newline", "a = \"\"\"\r\nx\r\ny\"\"\"", "{\"a\":\"x\\ny\"}"},
    {"a multi-line literal string", "a = '''\nx\\\ny'''", "{\"a\":\"x\\\\\\ny\"}"},
    {"apostrophes in a multi-line literal", "a = '''it''s'''''", "{\"a\":\"it''s''\"}"},

    {"integers", "a = [0, +0, -0, 99, +99, -17]", "{\"a\":[0,0,0,99,99,-17]}"},
    {"underscores in integers", "a = [1_000, 5_349_221, 1_2_3_4_5]", "{\"a\":[1000,5349221,12345]}"},
    {"hexadecimal", "a = [0xDEADBEEF, 0xdead_beef, 0x00]", "{\"a\":[3735928559,3735928559,0]}"},
    {"octal and binary", "a = [0o755, 0o01_23, 0b1101_0110]", "{\"a\":[493,83,214]}"},
    {"the ends of 64 bits", "a = [9223372036854775807, -9223372036854775808, 0x7fffffffffffffff]",
     "{\"a\":[9223372036854775807,-9223372036854775808,9223372036854775807]}"},
    {"floats", "a = [+1.0, 3.5, -0.25, 0.0]", "{\"a\":[1.0,3.5,-0.25,0.0]}"},
    {"exponents", "a = [5e+2, 1e06, -2E-2, 6.5e3, 1e00]", "{\"a\":[500.0,1000000.0,-0.02,6500.0,1.0]}"},
    {"underscores in floats", "a = [224_617.5, 1_0.2_5, 1e1_0]", "{\"a\":[224617.5,10.25,10000000000.0]}"},
    {"infinity and nan", "a = [inf, +inf, -inf, nan, +nan, -nan]",
     "{\"a\":[\"inf\",\"inf\",\"-inf\",\"nan\",\"nan\",\"nan\"]}"},
    {"booleans", "a = [true, false]", "{\"a\":[true,false]}"},

    {"an offset date-time", "a = 1979-05-27T07:32:00Z", "{\"a\":\"1979-05-27T07:32:00Z\"}"},
    {"with offset and fraction", "a = 1979-05-27T00:32:00.999999-07:00", "{\"a\":\"1979-05-27T00:32:00.999999-07:00\"}"},
    {"with a space", "a = 1979-05-27 07:32:00Z # c", "{\"a\":\"1979-05-27 07:32:00Z\"}"},
    {"in lower case", "a = 1979-05-27t07:32:00z", "{\"a\":\"1979-05-27t07:32:00z\"}"},
    {"a local date-time", "a = 1979-05-27T07:32:00.5", "{\"a\":\"1979-05-27T07:32:00.5\"}"},
    {"a local date", "a = 1979-05-27 # c", "{\"a\":\"1979-05-27\"}"},
    {"a leap day", "a = 2000-02-29", "{\"a\":\"2000-02-29\"}"},
    {"a local time", "a = 07:32:00.25", "{\"a\":\"07:32:00.25\"}"},
    {"a leap second", "a = 23:59:60", "{\"a\":\"23:59:60\"}"},

    {"an empty array", "a = [ ]", "{\"a\":[]}"},
    {"an array of mixed types", "a = [1, \"x\", 1.5, true, [], {}]", "{\"a\":[1,\"x\",1.5,true,[],{}]}"},
    {"nested arrays", "a = [[1, 2], [[3]]]", "{\"a\":[[1,2],[[3]]]}"},
    {"a comma at an array's end", "a = [1, 2, ]", "{\"a\":[1,2]}"},
    {"newlines and comments in an array", "a = [ # c\n\n1 # d\n, # e\n2,\n# f\n]", "{\"a\":[1,2]}"},
    {"an inline table", "a = { x = 1, \"y z\" = 2 }", "{\"a\":{\"x\":1,\"y z\":2}}"},
    {"an empty inline table", "a = { }", "{\"a\":{}}"},
    {"dotted keys in an inline table", "a = {x.y = 1, x.z = 2}", "{\"a\":{\"x\":{\"y\":1,\"z\":2}}}"},
    {"nested inline tables", "a = {b = {c = {}}}", "{\"a\":{\"b\":{\"c\":{}}}}"},
    {"an array over lines in an inline table", "a = {b = [1,\n2]}", "{\"a\":{\"b\":[1,2]}}"},
    {"inline tables in an array", "a = [{x = 1}, {x = 2}]", "{\"a\":[{\"x\":1},{\"x\":2}]}"},

    {"a table", "[a]\nb = 1", "{\"a\":{\"b\":1}}"},
    {"an empty table", "[a]", "{\"a\":{}}"},
    {"white space in a header", "[ a . 'b' ] # c", "{\"a\":{\"b\":{}}}"},
    {"a table below one not defined", "[a.b.c]\nd = 1", "{\"a\":{\"b\":{\"c\":{\"d\":1}}}}"},
    {"a table above one that was defined", "[a.b]\n[a]\nc = 1", "{\"a\":{\"b\":{},\"c\":1}}"},
    {"tables out of order", "[a.b]\n[x]\n[a.c]", "{\"a\":{\"b\":{},\"c\":{}},\"x\":{}}"},
    {"the order of the file is kept", "z = 1\na = 2\n[m]\n[b]", "{\"z\":1,\"a\":2,\"m\":{},\"b\":{}}"},
    {"a table below dotted keys", "[f]\na.c = 1\n[f.a.t]\ns = 2", "{\"f\":{\"a\":{\"c\":1,\"t\":{\"s\":2}}}}"},
    {"dotted keys into a table never defined itself", "[a.b.c]\nz = 9\n[a]\nb.x = 1",
     "{\"a\":{\"b\":{\"c\":{\"z\":9},\"x\":1}}}"},
    {"an array of tables", "[[a]]\nx = 1\n[[a]]\n[[a]]\nx = 2", "{\"a\":[{\"x\":1},{},{\"x\":2}]}"},
    {"a table in an array of tables", "[[a]]\n[a.b]\nx = 1\n[[a]]\n[a.b]\nx = 2",
     "{\"a\":[{\"b\":{\"x\":1}},{\"b\":{\"x\":2}}]}"},
    {"arrays of tables in each other", "[[a]]\n[[a.b]]\nx=1\n[[a.b]]\nx=2\n[[a]]\n[[a.b]]\nx=3",
     "{\"a\":[{\"b\":[{\"x\":1},{\"x\":2}]},{\"b\":[{\"x\":3}]}]}"},
    {"an array of tables below a new table", "[[a.b]]\n[a]\nc = 1", "{\"a\":{\"b\":[{}],\"c\":1}}"},
};

static const struct { const char *name, *toml, *err; } invalid[] = {
    {"a key alone", "a", "line 1, column 2: a = is missing after the key a"},
    {"a key without value", "a =", "line 1, column 4: a value is missing here"},
    {"a value on the next line", "a =\n1", "line 1, column 4: a value is missing here"},
    {"no key", "= 1", "line 1, column 1: a key cannot begin with ="},
    {"two pairs in a line", "a = 1 b = 2", "line 1, column 7: the line must end after a value"},
    {"a bare key with a space", "a b = 1", "a = is missing after the key a"},
    {"a bare key with another letter", "\xc3\xa9 = 1", "needs quotes"},
    {"a key over lines", "\"\"\"a\"\"\" = 1", "a key cannot be a multi-line string"},
    {"a key that begins with a dot", ".a = 1", "a key cannot begin with ."},
    {"a key that ends with a dot", "a. = 1", "a key cannot begin with ="},
    {"two dots in a key", "a..b = 1", "line 1, column 3: a key cannot begin with ."},
    {"a plus in a key", "a+b = 1", "a = is missing after the key a"},
    {"the same key twice", "a = 1\na = 2", "line 2, column 1: a is already defined, in line 1"},
    {"the same key in other clothes", "a = 1\n\"a\" = 2", "line 2, column 1: a is already defined, in line 1"},
    {"a dotted key through a value", "a = 1\na.b = 2", "line 2, column 1: a is an integer (line 1), so it has no members"},
    {"a value where dotted keys were", "a.b = 1\na = 2", "line 2, column 1: a is already defined, in line 1"},
    {"the same dotted key twice", "a.b = 1\na.b = 2", "line 2, column 3: a.b is already defined, in line 1"},
    {"a bare word as value", "a = yes", "line 1, column 5: yes is not a number or a time (strings need quotes)"},
    {"true with a capital", "a = True", "True is not a number"},
    {"a control character in a key", "a\x01 = 1", "a = is missing"},
    {"a control character at a key's place", "\x01", "control character 0x01"},

    {"a string not closed", "a = \"x", "line 1, column 5: the string that begins here is not closed"},
    {"a string not closed on its line", "a = \"x\nb = 1", "line 1, column 5: the string that begins here is not closed on its line"},
    {"a literal string not closed", "a = 'x\n'", "line 1, column 5: the string that begins here is not closed on its line"},
    {"a multi-line string not closed", "\na = \"\"\"x\n\"\"", "line 2, column 5: the string that begins here is not closed"},
    {"a multi-line literal not closed", "a = '''x''", "line 1, column 5: the string that begins here is not closed"},
    {"an unknown escape", "a = \"C:\\data\"", "line 1, column 8: there is no escape \\d"},
    {"the \\x escape of other languages", "a = \"\\x41\"", "there is no escape \\x"},
    {"the \\e escape of later versions", "a = \"\\e\"", "there is no escape \\e"},
    {"a backslash before a non-ASCII byte", "a = \"\\\xc3\xa9\"", "there is no such escape"},
    {"too few digits after \\u", "a = \"\\u12\"", "line 1, column 6: \\u needs 4 hexadecimal digits"},
    {"too few digits after \\U", "a = \"\\U0001F60\"", "\\U needs 8 hexadecimal digits"},
    {"a surrogate", "a = \"\\uD800\"", "U+D800 is not a character"},
    {"past the last character", "a = \"\\U00110000\"", "U+110000 is not a character"},
    {"a control character in a string", "a = \"x\x1f\"", "line 1, column 7: control character 0x1f in a string: write it as \\u00XX"},
    {"DEL in a string", "a = \"\x7f\"", "control character 0x7f in a string"},
    {"a control character in a literal", "a = '\x01'", "control character 0x01 in a string"},
    {"a bare CR in a multi-line string", "a = \"\"\"x\ry\"\"\"", "control character 0x0d in a string"},
    {"a backslash before spaces only", "a = \"\"\"x \\  y\"\"\"", "line 1, column 10: a backslash before white space must end its line"},
    {"a backslash at the end of a one-line string", "a = \"x\\\ny\"", "there is no such escape"},
    {"six quotes at the end", "a = \"\"\"x\"\"\"\"\"\"", "the line must end after a value"},
    {"a control character in a comment", "# a\x01", "line 1, column 4: control character 0x01 in a comment"},
    {"a bare CR in a comment", "# a\rb", "control character 0x0d in a comment"},

    {"a leading zero", "a = 012", "a decimal number has no leading zeros"},
    {"a leading zero with sign", "a = -01", "a decimal number has no leading zeros"},
    {"two zeros", "a = 00", "a decimal number has no leading zeros"},
    {"a leading zero in a float", "a = 01.5", "a decimal number has no leading zeros"},
    {"an underscore at the start", "a = _1", "_1 is not a number"},
    {"an underscore at the end", "a = 1_", "1_ is not a number"},
    {"two underscores", "a = 1__0", "1__0 is not a number"},
    {"an underscore after the prefix", "a = 0x_1", "0x_1 is not a number"},
    {"a sign before the prefix", "a = -0x1", "-0x1 is not a number"},
    {"an upper-case prefix", "a = 0X1", "0X1 is not a number"},
    {"a prefix alone", "a = 0b", "0b is not a number"},
    {"a digit of another base", "a = [0b2, 0o8]", "0b2 is not a number"},
    {"two signs", "a = ++1", "++1 is not a number"},
    {"a sign alone", "a = -", "- is not a number"},
    {"over 64 bits", "a = 9223372036854775808", "the integer does not fit 64 bits"},
    {"under 64 bits", "a = -9223372036854775809", "the integer does not fit 64 bits"},
    {"hexadecimal over 63 bits", "a = 0x8000000000000000", "the integer does not fit 64 bits"},
    {"far over 64 bits", "a = 99999999999999999999999999", "the integer does not fit 64 bits"},
    {"a dot at the start", "a = .5", ".5 is not a number"},
    {"a dot at the end", "a = 5.", "5. is not a number"},
    {"a dot before the exponent", "a = 5.e3", "5.e3 is not a number"},
    {"an exponent without digits", "a = 5e", "5e is not a number"},
    {"an exponent with a fraction", "a = 5e1.5", "5e1.5 is not a number"},
    {"an underscore at the dot", "a = 1_.5", "1_.5 is not a number"},
    {"an underscore after the dot", "a = 1._5", "1._5 is not a number"},
    {"infinity in capitals", "a = INF", "INF is not a number"},
    {"a second sign at infinity", "a = --inf", "--inf is not a number"},

    {"month 13", "a = 2024-13-01", "2024-13-01 is not a valid date or time"},
    {"day 0", "a = 2024-01-00", "is not a valid date or time"},
    {"the 30th of February", "a = 2024-02-30", "is not a valid date or time"},
    {"a leap day in a common year", "a = 2100-02-29", "is not a valid date or time"},
    {"one-digit month", "a = 2024-1-01", "is not a valid date or time"},
    {"hour 24", "a = 24:00:00", "is not a valid date or time"},
    {"minute 60", "a = 2024-01-01T00:60:00Z", "is not a valid date or time"},
    {"second 61", "a = 00:00:61", "is not a valid date or time"},
    {"no seconds", "a = 07:32", "is not a valid date or time"},
    {"an empty fraction", "a = 07:32:00.", "is not a valid date or time"},
    {"an offset without colon", "a = 2024-01-01T00:00:00+0100", "is not a valid date or time"},
    {"an offset of 24 hours", "a = 2024-01-01T00:00:00+24:00", "is not a valid date or time"},
    {"an offset at a local time", "a = 00:00:00Z", "is not a valid date or time"},
    {"a date that ends with T", "a = 2024-01-01T", "is not a valid date or time"},
    {"two spaces before the time", "a = 2024-01-01  00:00:00", "the line must end after a value"},

    {"an array not closed", "a = [1,", "line 1, column 5: the array that begins here is not closed"},
    {"no comma in an array", "a = [1 2]", "line 1, column 8: a comma or ] must follow an array's value"},
    {"two commas in an array", "a = [1,,2]", "line 1, column 8: a value is missing here"},
    {"a comma alone in an array", "a = [,]", "a value is missing here"},
    {"a bracket too many", "a = [1]]", "the line must end after a value"},
    {"an inline table not closed", "a = {x = 1", "line 1, column 5: the inline table that begins here is not closed on its line"},
    {"an inline table over lines", "a = {x = 1,\ny = 2}", "a key is missing"},
    {"an inline table that closes on the next line", "a = {x = 1\n}", "is not closed on its line"},
    {"a comment in an inline table", "a = {x = 1 # c\n}", "is not closed on its line"},
    {"a comma at an inline table's end", "a = {x = 1,}", "line 1, column 11: an inline table has no comma before its }"},
    {"no comma in an inline table", "a = {x = 1 y = 2}", "a comma or } must follow an inline table's value"},
    {"a key twice in an inline table", "a = {x = 1, x = 2}", "line 1, column 13: x is already defined, in line 1"},
    {"adding to an inline table inside one", "a = {x = {}, x.y = 1}", "x cannot be added to: line 1 has all of it"},
    {"adding to an inline table by dotted key", "a = {}\na.b = 1", "line 2, column 1: a cannot be added to: line 1 has all of it"},
    {"adding to an inline table by header", "a = {}\n[a.b]", "line 2, column 2: a cannot be added to: line 1 has all of it"},
    {"a header for an inline table", "a = {}\n[a]", "line 2, column 2: a is already defined, in line 1"},
    {"adding below an inline table's table", "a = {b.c = 1}\n[a.b.d]", "a cannot be added to"},

    {"an empty header", "[]", "line 1, column 2: a key cannot begin with ]"},
    {"a header not closed", "[a", "line 1, column 3: the table's name must end with ]"},
    {"an array header closed once", "[[a]", "the table's name must end with ]]"},
    {"a space between brackets", "[[a] ]", "the table's name must end with ]]"},
    {"a space between opening brackets", "[ [a]]", "a key cannot begin with ["},
    {"something after a header", "[a] b = 1", "line 1, column 5: the line must end after a table's name"},
    {"a header twice", "[a]\n[a]", "line 2, column 2: a is already defined, in line 1"},
    {"a longer header twice", "[a.b]\n[a]\n[a.b]", "line 3, column 4: a.b is already defined, in line 1"},
    {"a header for a value", "a = 1\n[a]", "line 2, column 2: a is already defined, in line 1"},
    {"a header below a value", "a = 1\n[a.b]", "line 2, column 2: a is an integer (line 1), so it has no members"},
    {"a header for a table of dotted keys", "[f]\na.b = 1\n[f.a]", "line 3, column 4: f.a is already defined, in line 2"},
    {"a header for a root table of dotted keys", "a.b = 1\n[a]", "line 2, column 2: a is already defined, in line 1"},
    {"dotted keys into a table with a header", "[a.b]\n[a]\nb.c = 1", "line 3, column 1: b is already defined, in line 1"},
    {"dotted keys through a table with a header", "[a.b.c]\nz = 9\n[a]\nb.c.t = 1", "line 4, column 3: b.c is already defined, in line 1"},
    {"an array of tables after a table", "[a]\n[[a]]", "line 2, column 3: a is already defined, in line 1"},
    {"an array of tables after one below it", "[a.b]\n[[a]]", "line 2, column 3: a is already defined, in line 1"},
    {"a table after an array of tables", "[[a]]\n[a]", "line 2, column 2: a is already defined, in line 1"},
    {"an array of tables after an array", "a = []\n[[a]]", "line 2, column 3: a is already defined, in line 1"},
    {"an array of tables after tables in an array", "a = [{}]\n[[a]]", "line 2, column 3: a is already defined, in line 1"},
    {"a table below an array", "a = [{}]\n[a.b]", "line 2, column 2: a cannot be added to: line 1 has all of it"},
    {"dotted keys into an array of tables", "[[a.b]]\n[a]\nb.c = 1", "line 3, column 1: b cannot be added to: line 1 has all of it"},
    {"a NUL byte", "a = 1\n\x02", "line 2, column 1: a key cannot begin with control character 0x02"},
    {"a byte-order mark in the middle", "a = 1\n\xef\xbb\xbf", "needs quotes"},
    {"an overlong sequence", "a = \"\xc0\x80\"", "line 1, column 6: byte 0xc0 is not UTF-8"},
    {"a sequence cut short", "a = \"x\" # \xe2\x82", "line 1, column 11: byte 0xe2 is not UTF-8"},
};

static void reads_what_is_valid(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(valid); i++) {
        scoped_arena a = {0};
        scoped_err err = {0};
        struct toml_value root;
        if (!toml_parse(&a, str_from(valid[i].toml), &root, &err))
            fail_msg("%s: %s", valid[i].name, err_msg(&err));
        scoped_json *got = toml_to_json(&root), *want = json_parse(str_from(valid[i].json), &err);
        if (!want)
            fail_msg("%s: the test's own JSON: %s", valid[i].name, err_msg(&err));
        /* As text, so that order and kind of number count. */
        struct str got_text = json_text(&a, got, 0), want_text = json_text(&a, want, 0);
        if (!str_eq(got_text, want_text))
            fail_msg("%s:\n wanted " STR_FMT "\n    got " STR_FMT, valid[i].name, STR_ARG(want_text), STR_ARG(got_text));
    }
}

static void refuses_what_is_not(void **state)
{
    size_t wrong = 0;
    for (size_t i = 0; i < ARRAY_LEN(invalid); i++) {
        scoped_arena a = {0};
        scoped_err err = {0};
        struct toml_value root = {.line = 77};
        bool ok = toml_parse(&a, str_from(invalid[i].toml), &root, &err);
        if (ok || err.code != ERR_INVALID || root.line != 77 || !strstr(err_msg(&err), invalid[i].err)) {
            print_error("%s:\n wanted %s\n    got %s\n", invalid[i].name, invalid[i].err, ok ? "a tree" : err_msg(&err));
            wrong++;
        }
    }
    assert_int_equal(wrong, 0);
}

/* ---- Files ---- */

static struct str read_file(struct arena *a, struct str path)
{
    scoped_err err = {0};
    struct str text = {0};
    if (!fs_read_all(a, path, TOML_INPUT_MAX, &text, &err))
        fail_msg("%s", err_msg(&err));
    return text;
}

static void check_file(struct arena *a, struct str path, bool is_valid)
{
    scoped_err err = {0};
    struct toml_value root;
    bool ok = toml_parse(a, read_file(a, path), &root, &err);
    struct str stem = str_slice(path, 0, path.len - strlen(".toml"));
    struct str want = str_trim(read_file(a, str_cat(a, stem, is_valid ? STR(".json") : STR(".txt"))));
    if (!is_valid) {
        if (ok || str_find(str_from(err_msg(&err)), want) == STR_NPOS)
            fail_msg(STR_FMT ": wanted " STR_FMT ", got %s", STR_ARG(path), STR_ARG(want), err_msg(&err));
        return;
    }
    if (!ok)
        fail_msg(STR_FMT ": %s", STR_ARG(path), err_msg(&err));
    scoped_json *got = toml_to_json(&root);
    if (!str_eq(json_text(a, got, JSON_STYLE_INDENT), want))
        fail_msg(STR_FMT ": got " STR_FMT, STR_ARG(path), STR_ARG(json_text(a, got, JSON_STYLE_INDENT)));
}

static void check_folder(const char *name, bool is_valid, size_t at_least)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    const char *root = getenv("OPENRUN_SOURCE_ROOT");
    struct str dir = path_join(&a, str_from(root ? root : "."), STR("tests/base/toml"), str_from(name));
    struct fs_walk *w = fs_walk_open(dir, &err);
    struct fs_entry e;
    size_t n = 0;
    while (fs_walk_next(w, &e, &err)) {
        if (!str_ends(e.name, STR(".toml")))
            continue;
        check_file(&a, path_join(&a, dir, e.path), is_valid);
        n++;
    }
    fs_walk_close(w);
    if (err_is_set(&err) || n < at_least)
        fail_msg("%zu files in " STR_FMT " %s", n, STR_ARG(dir), err_msg(&err));
}

static void reads_whole_files(void **state)
{
    check_folder("valid", true, 5);
    check_folder("invalid", false, 4);
}

/* ---- The rest of the interface ---- */

static void keeps_kinds_and_places(void **state)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct toml_value root;
    assert_true(toml_parse(&a, STR("a = 1979-05-27T07:32:00Z\nb = 1979-05-27 07:32:00\nc = 1979-05-27\n"
                                   "d = 07:32:00\n  [t]\n  x = [1,\n    2.5]\n"), &root, &err));
    static const enum toml_kind kinds[] = {TOML_OFFSET_DATETIME, TOML_LOCAL_DATETIME, TOML_LOCAL_DATE, TOML_LOCAL_TIME};
    for (size_t i = 0; i < 4; i++) {
        const struct toml_value *v = toml_get(&root, str_of(&"abcd"[i], 1));
        assert_int_equal(v->kind, kinds[i]);
        assert_int_equal(v->line, i + 1);
        assert_int_equal(v->column, 5);
    }
    const struct toml_value *t = toml_get(&root, STR("t")), *x = toml_get(t, STR("x"));
    assert_true(t->line == 5 && t->column == 3);
    assert_true(x->line == 6 && x->column == 7);
    assert_true(x->array.items[1]->line == 7 && x->array.items[1]->column == 5);
    assert_true(x->array.items[1]->f == 2.5);
    assert_null(toml_get(x, STR("x")));
    assert_null(toml_get(NULL, STR("x")));
}

static void reads_single_values(void **state)
{
    static const struct { const char *in, *json, *err; } cases[] = {
        {"\"x\"", "\"x\"", NULL}, {"5", "5", NULL}, {" [1,\n2] # c\n", "[1,2]", NULL}, {"{a = 1}", "{\"a\":1}", NULL},
        {"# c\ntrue", "true", NULL}, {"'''a\nb'''", "\"a\\nb\"", NULL},
        {"", NULL, "line 1, column 1: a value is missing here"},
        {"x", NULL, "line 1, column 1: x is not a number or a time (strings need quotes)"},
        {"5 6", NULL, "line 1, column 3: nothing may follow the value"},
        {"\"a\"\nb = 1", NULL, "line 2, column 1: nothing may follow the value"},
        {"[1", NULL, "line 1, column 1: the array that begins here is not closed"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_arena a = {0};
        scoped_err err = {0};
        struct toml_value v;
        bool ok = toml_parse_value(&a, str_from(cases[i].in), &v, &err);
        if (ok != (cases[i].json != NULL) || (!ok && strcmp(err_msg(&err), cases[i].err) != 0))
            fail_msg("%s: %s", cases[i].in, err_msg(&err));
        if (!ok)
            continue;
        scoped_json *got = toml_to_json(&v);
        assert_true(str_eq_z(json_text(&a, got, 0), cases[i].json));
    }
}

static void typed_readers_point_at_what_is_wrong(void **state)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct toml_value root;
    assert_true(toml_parse(&a, STR("s = \"x\"\ni = 5\nf = 1.5\nb = true\nl = [\"a\", \"b\"]\nm = {k = \"v\"}\n"
                                   "bad = [\"a\", 1]\nworse = {k = []}\n"), &root, &err));
    struct str s = STR("old");
    int64_t i = 0;
    double f = 0;
    bool b = false;
    struct str_list l = {0};
    struct map m;
    const struct toml_value *t = NULL;
    assert_true(toml_read_str(&root, "none", &s, &err) && str_eq(s, STR("old")));
    assert_true(toml_read_str(&root, "s", &s, &err) && str_eq(s, STR("x")));
    assert_true(toml_read_int(&root, "i", &i, &err) && i == 5);
    assert_true(toml_read_num(&root, "i", &f, &err) && f == 5.0);
    assert_true(toml_read_num(&root, "f", &f, &err) && f == 1.5);
    assert_true(toml_read_bool(&root, "b", &b, &err) && b);
    assert_true(toml_read_list(&a, &root, "l", &l, &err) && l.len == 2);
    assert_true(toml_read_map(&a, &root, "m", &m, &err) && str_eq(*(struct str *)map_get(&m, STR("k")), STR("v")));
    assert_true(toml_read_table(&root, "m", &t, &err) && t);
    assert_false(toml_read_str(&root, "i", &s, &err));
    assert_string_equal(err_msg(&err), "line 2, column 5: i must be a string, not an integer");
    assert_false(toml_read_int(&root, "f", &i, &err));
    assert_string_equal(err_msg(&err), "line 3, column 5: f must be an integer, not a float");
    assert_false(toml_read_list(&a, &root, "bad", &l, &err));
    assert_string_equal(err_msg(&err), "line 7, column 13: bad must be an array of strings, but value 2 is an integer");
    assert_false(toml_read_map(&a, &root, "worse", &m, &err));
    assert_string_equal(err_msg(&err), "line 8, column 14: worse.k must be a string, not an array");
    assert_false(toml_read_table(&root, "s", &t, &err));
    assert_false(toml_read_bool(&root, "s", &b, &err));
    assert_string_equal(err_msg(&err), "line 1, column 5: s must be true or false, not a string");
}

static void expect_error(struct str text, const char *want)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct toml_value root;
    assert_false(toml_parse(&a, text, &root, &err));
    if (!strstr(err_msg(&err), want))
        fail_msg("wanted %s, got %s", want, err_msg(&err));
}

static void everything_has_a_ceiling(void **state)
{
    static const struct { const char *head, *unit; size_t times; const char *err; } cases[] = {
        {"a = ", "[", 200000, "line 1, column 132: values are nested deeper than 128"},
        {"a = ", "{a=", 200000, "nested deeper than 128"},
        {"a", ".a", 200000, "tables are nested deeper than 128"},
        {"[a", ".a", 200000, "tables are nested deeper than 128"},
        {"a = ", "{a.a.a.a.a.a.a.a.a=", 200000, "tables are nested deeper than 128"},
        {"a = [", "1,", 1100000, "more than 1000000 values"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_buf b = BUF_INIT(32 << 20);
        buf_add_z(&b, cases[i].head);
        for (size_t n = 0; n < cases[i].times; n++)
            buf_add_z(&b, cases[i].unit);
        expect_error(buf_str(&b), cases[i].err);
    }
    scoped_buf big = BUF_INIT(TOML_INPUT_MAX + 1);
    assert_true(buf_reserve(&big, TOML_INPUT_MAX + 1));
    memset(big.ptr, '\n', TOML_INPUT_MAX + 1);
    big.len = TOML_INPUT_MAX + 1;
    expect_error(buf_str(&big), "16777217 bytes of TOML");

    scoped_arena a = {0};
    scoped_err err = {0};
    struct toml_value root;
    scoped_buf deep = BUF_INIT(1000);
    buf_add_z(&deep, "a = ");
    for (int i = 0; i < TOML_DEPTH_MAX - 1; i++)
        buf_add_char(&deep, '[');
    for (int i = 0; i < TOML_DEPTH_MAX - 1; i++)
        buf_add_char(&deep, ']');
    assert_true(toml_parse(&a, buf_str(&deep), &root, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_is_valid),     cmocka_unit_test(refuses_what_is_not),
        cmocka_unit_test(reads_whole_files),       cmocka_unit_test(keeps_kinds_and_places),
        cmocka_unit_test(reads_single_values),     cmocka_unit_test(typed_readers_point_at_what_is_wrong),
        cmocka_unit_test(everything_has_a_ceiling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
