/* starlark/lib_math.c: the math module.
 * SPDX-License-Identifier: Apache-2.0 */
#include "lib_int.h"

#include <math.h>

static bool arg_float(struct star_run *run, const struct star_call *call, star_v v, size_t i, double *out)
{
    return star_to_double(v, out) ||
           FAIL_FALSE(run, STR_FMT ": for parameter %zu: got %s, want float or int", STR_ARG(call->name), i + 1, star_type_name(v));
}

static enum star_ret unary(struct star_run *run, const struct star_call *call, star_v *out)
{
    double (*fn)(double) = (double (*)(double))call->data;
    star_v a[1];
    double x;
    if (!star_unpack_pos(run, call, 1, 1, a) || !arg_float(run, call, a[0], 0, &x))
        return STAR_FAIL;
    *out = float_v(run->arena, fn(x));
    return STAR_OK;
}

static enum star_ret binary(struct star_run *run, const struct star_call *call, star_v *out)
{
    double (*fn)(double, double) = (double (*)(double, double))call->data;
    star_v a[2];
    double x, y;
    if (!star_unpack_pos(run, call, 2, 2, a) || !arg_float(run, call, a[0], 0, &x) || !arg_float(run, call, a[1], 1, &y))
        return STAR_FAIL;
    *out = float_v(run->arena, fn(x, y));
    return STAR_OK;
}

static enum star_ret rounded(struct star_run *run, const struct star_call *call, star_v *out, double (*fn)(double))
{
    star_v a[1];
    if (!star_unpack_pos(run, call, 1, 1, a))
        return STAR_FAIL;
    if (is_any_int(a[0])) {
        *out = a[0];
        return STAR_OK;
    }
    if (!is_float(a[0]))
        return star_fail(run, "got %s, want float or int", star_type_name(a[0]));
    double d = float_of(a[0]);
    if (!isfinite(d))
        return star_fail(run, "cannot convert float %s to integer", isnan(d) ? "NaN" : "infinity");
    *out = int_from_double(run->arena, fn(d));
    return STAR_OK;
}
static enum star_ret m_ceil(struct star_run *run, const struct star_call *call, star_v *out)
{
    return rounded(run, call, out, ceil);
}
static enum star_ret m_floor(struct star_run *run, const struct star_call *call, star_v *out)
{
    return rounded(run, call, out, floor);
}

static enum star_ret m_log(struct star_run *run, const struct star_call *call, star_v *out)
{
    star_v a[2];
    double x, base = M_E;
    if (!star_unpack_pos(run, call, 1, 2, a) || !arg_float(run, call, a[0], 0, &x) ||
        (!star_is_null(a[1]) && !arg_float(run, call, a[1], 1, &base)))
        return STAR_FAIL;
    if (base == 1)
        return star_fail(run, "division by zero");
    *out = float_v(run->arena, log(x) / log(base));
    return STAR_OK;
}

static double m_degrees(double x)
{
    return 360 * x / (2 * M_PI);
}
static double m_radians(double x)
{
    return x * 2 * M_PI / 360;
}

#define UNARY(nm, f)                                                                                 \
    {.h = {.type = O_BUILTIN, .frozen = 1}, .fn = unary, .data = (void *)(f), .recv = {0x03}, .name = STR_INIT(nm)}
#define BINARY(nm, f)                                                                                \
    {.h = {.type = O_BUILTIN, .frozen = 1}, .fn = binary, .data = (void *)(f), .recv = {0x03}, .name = STR_INIT(nm)}

_Alignas(16) static struct builtin_obj functions[] = {
    UNARY("acos", acos), UNARY("acosh", acosh), UNARY("asin", asin), UNARY("asinh", asinh), UNARY("atan", atan),
    BINARY("atan2", atan2), UNARY("atanh", atanh), BUILTIN_INIT("ceil", m_ceil, NULL), BINARY("copysign", copysign),
    UNARY("cos", cos), UNARY("cosh", cosh), UNARY("degrees", m_degrees), UNARY("exp", exp), UNARY("fabs", fabs),
    BUILTIN_INIT("floor", m_floor, NULL), UNARY("gamma", tgamma), BINARY("hypot", hypot), BUILTIN_INIT("log", m_log, NULL),
    BINARY("mod", fmod), BINARY("pow", pow), UNARY("radians", m_radians), BINARY("remainder", remainder),
    UNARY("round", round), UNARY("sin", sin), UNARY("sinh", sinh), UNARY("sqrt", sqrt), UNARY("tan", tan), UNARY("tanh", tanh),
};

static void fill_constants(struct arena *a, struct lib *lib)
{
    lib->constants[0] = (struct star_binding){"e", float_v(a, M_E)};
    lib->constants[1] = (struct star_binding){"pi", float_v(a, M_PI)};
}

star_v star_lib_math(void)
{
    static struct star_binding constants[2];
    static struct lib lib = {
        .name = "math", .functions = functions, .n = ARRAY_LEN(functions), .constants = constants, .n_constants = 2,
        .fill = fill_constants,
    };
    return lib_get(&lib);
}
