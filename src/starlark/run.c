/* starlark/run.c: a run's life: start, calls, errors, limits, suspension.
 *
 * Frames, from the bottom: a ROOT, then CODE frames of Starlark functions and NATIVE frames of builtins that
 * asked for a call (star_then). A call's result is delivered to the frame below: a register of a CODE frame,
 * the continuation of a NATIVE one, the end of the run at the ROOT.
 *
 *   IDLE --star_run_call/exec--> READY --resume--> CODE <--yield, resume--.
 *                                                   |  '------------------'
 *                                                   |--builtin blocks--> WAITING --complete, resume--> CODE
 *                                                   '--returns, fails--> IDLE
 * SPDX-License-Identifier: Apache-2.0 */
#include "starlark_int.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    QUANTUM = 5000,             /* steps between looks at cancellation: well under a millisecond */
    DEFAULT_DEPTH = 100000,
    FIRST_STACK = 64,
    FIRST_FRAMES = 8,
    ERROR_RESERVE = 256 * 1024, /* what an error report may take beyond the cap */
    MAX_MESSAGE = 64 * 1024,
    MAX_TRACE = 60,             /* frames shown at each end of a deep call stack */
};

struct star_run *star_run_new(struct arena *a, const struct star_limits *limits)
{
    struct star_run *run = star_alloc(a, sizeof *run);
    if (!run)
        return NULL;
    *run = (struct star_run){
        .arena = a, .stack_cap = FIRST_STACK, .cap_frames = FIRST_FRAMES,
        .depth_limit = limits && limits->depth ? limits->depth : DEFAULT_DEPTH,
        .steps_limit = limits && limits->steps ? limits->steps : UINT64_MAX,
        .slice = limits && limits->slice_steps ? limits->slice_steps : UINT64_MAX,
        .result = STAR_NONE, .pending = STAR_NULL,
    };
    run->slice_left = run->slice;
    run->stack = star_alloc(a, FIRST_STACK * sizeof *run->stack);
    run->frames = star_alloc(a, FIRST_FRAMES * sizeof *run->frames);
    return run->stack && run->frames ? run : NULL;
}

void star_run_set_user(struct star_run *run, void *user)
{
    run->user = user;
}
void *star_run_user(const struct star_run *run)
{
    return run->user;
}
struct arena *star_run_arena(const struct star_run *run)
{
    return run->arena;
}
void star_run_set_cancel(struct star_run *run, const int *flag)
{
    run->cancel = flag;
}
void star_run_set_print(struct star_run *run, star_print_fn fn, void *ctx)
{
    run->print = fn;
    run->print_ctx = ctx;
}
void star_run_set_loader(struct star_run *run, star_loader_fn fn, void *ctx)
{
    run->loader = fn;
    run->loader_ctx = ctx;
}

/* ---- failing ---- */

/* The first failure of a call is the one reported; what it causes on the way out is not. */
static void set_msg(struct star_run *run, struct str msg, int why)
{
    if (run->has_msg)
        return;
    run->msg = msg;
    run->why = (uint8_t)why;
    run->has_msg = true;
}

/* Text that must not fail for want of memory: the cap is lifted a little for it. */
static struct str reserve_dup(struct star_run *run, struct str s)
{
    size_t limit = run->arena->limit;
    if (limit)
        run->arena->limit = MAX(limit, run->arena->used) + ERROR_RESERVE;
    char *p = arena_try_alloc(run->arena, s.len + 1);
    run->arena->limit = limit;
    if (!p)
        return STR("out of memory");
    memcpy(p, s.ptr, s.len);
    p[s.len] = 0;
    return str_of(p, s.len);
}

enum star_ret memory_fail(struct star_run *run)
{
    if (run->has_msg)
        return STAR_FAIL;
    char text[120];
    if (run->arena->limit)
        snprintf(text, sizeof text, "memory limit exceeded: the program may use %zu bytes", run->arena->limit);
    else
        snprintf(text, sizeof text, "memory limit exceeded: a value is too large");
    set_msg(run, reserve_dup(run, str_from(text)), STAR_ERR_MEMORY);
    return STAR_FAIL;
}

enum star_ret star_fail_str(struct star_run *run, struct str msg)
{
    if (!run->has_msg)
        set_msg(run, reserve_dup(run, str_slice(msg, 0, MAX_MESSAGE)), STAR_ERR_RAISED);
    return STAR_FAIL;
}

enum star_ret star_fail(struct star_run *run, const char *fmt, ...)
{
    if (run->has_msg)
        return STAR_FAIL;
    char few[512];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(few, sizeof few, fmt, ap);
    va_end(ap);
    if (n < (int)sizeof few)
        return star_fail_str(run, str_of(few, n > 0 ? (size_t)n : 0));
    scoped_free char *text = xmalloc(MAX_MESSAGE);
    va_start(ap, fmt);
    vsnprintf(text, MAX_MESSAGE, fmt, ap);
    va_end(ap);
    return star_fail_str(run, str_from(text));
}

enum star_ret star_fail_err(struct star_run *run, const struct err *err)
{
    return star_fail_str(run, str_from(err_msg(err)));
}

/* ---- limits ---- */

static bool is_cancelled(const struct star_run *run)
{
    return run->cancel && __atomic_load_n(run->cancel, __ATOMIC_RELAXED) != 0;
}

static void give_fuel(struct star_run *run)
{
    uint64_t n = MIN((uint64_t)QUANTUM, run->steps_limit - run->steps_used);
    n = MIN(n, run->slice_left);
    run->fuel = run->fuel_given = (int64_t)n;
}

static void account(struct star_run *run)
{
    uint64_t used = (uint64_t)(run->fuel_given - MAX(run->fuel, 0));
    run->steps_used += used;
    run->slice_left -= MIN(used, run->slice_left);
    run->fuel_given = MAX(run->fuel, 0);
}

static enum fuel fail_steps(struct star_run *run)
{
    scoped_buf b = BUF_INIT(200);
    buf_printf(&b, "step limit exceeded: the program used its %llu steps", (unsigned long long)run->steps_limit);
    set_msg(run, reserve_dup(run, buf_str(&b)), STAR_ERR_STEPS);
    return FUEL_FAIL;
}

enum fuel refuel(struct star_run *run)
{
    account(run);
    if (is_cancelled(run)) {
        set_msg(run, STR("Starlark computation cancelled"), STAR_ERR_CANCELLED);
        return FUEL_FAIL;
    }
    if (run->steps_used >= run->steps_limit)
        return fail_steps(run);
    enum fuel r = FUEL_OK;
    if (run->slice_left == 0) {
        run->slice_left = run->slice;
        r = FUEL_YIELD;
    }
    give_fuel(run);
    return r;
}

bool star_charge(struct star_run *run, uint64_t n)
{
    if (LIKELY((int64_t)n >= 0 && run->fuel >= (int64_t)n)) {
        run->fuel -= (int64_t)n;
        return true;
    }
    if (is_cancelled(run)) {
        set_msg(run, STR("Starlark computation cancelled"), STAR_ERR_CANCELLED);
        return false;
    }
    account(run);
    if (n >= run->steps_limit - run->steps_used) {
        run->steps_used = run->steps_limit;
        run->fuel = run->fuel_given = 0;
        fail_steps(run);
        return false;
    }
    /* The slice is overdrawn; the VM yields at its next step. */
    run->steps_used += n;
    run->slice_left -= MIN(n, run->slice_left);
    give_fuel(run);
    return true;
}

static __thread struct star_run *current;

bool charge_current(uint64_t n)
{
    return !current || star_charge(current, n);
}

uint64_t star_run_steps(const struct star_run *run)
{
    return run->steps_used + (uint64_t)(run->fuel_given - MAX(run->fuel, 0));
}

/* ---- stack and frames ---- */

bool stack_reserve(struct star_run *run, size_t slots)
{
    if (LIKELY(slots <= run->stack_cap))
        return true;
    size_t cap = MAX(slots, (size_t)run->stack_cap * 2);
    star_v *bigger = cap < UINT32_MAX / 2 ? star_alloc(run->arena, cap * sizeof *bigger) : NULL;
    if (!bigger) {
        memory_fail(run);
        return false;
    }
    memcpy(bigger, run->stack, run->stack_cap * sizeof *bigger);
    run->stack = bigger;
    run->stack_cap = (uint32_t)cap;
    return true;
}

struct frame *frame_push(struct star_run *run)
{
    if (run->n_frames > run->depth_limit) {
        set_msg(run, STR("Starlark stack overflow"), STAR_ERR_DEPTH);
        return NULL;
    }
    if (run->n_frames == run->cap_frames) {
        struct frame *bigger = star_alloc(run->arena, 2 * (size_t)run->cap_frames * sizeof *bigger);
        if (!bigger) {
            memory_fail(run);
            return NULL;
        }
        memcpy(bigger, run->frames, run->n_frames * sizeof *bigger);
        run->frames = bigger;
        run->cap_frames *= 2;
    }
    struct frame *f = &run->frames[run->n_frames++];
    *f = (struct frame){0};
    return f;
}

bool is_running(const struct star_run *run, const struct proto *p)
{
    for (uint32_t i = run->n_frames; i-- > 0;)
        if (run->frames[i].kind == FRAME_CODE && run->frames[i].fn->proto == p)
            return true;
    return false;
}

/* ---- calls ---- */

static enum called enter_function(struct star_run *run, struct func_obj *fn, uint32_t base, size_t npos, size_t nkw,
                                  const star_v *kwnames, uint16_t dst)
{
    struct proto *p = fn->proto;
    if (p->no_recursion && is_running(run, p)) {
        star_fail(run, "function " STR_FMT " called recursively", STR_ARG(p->name));
        return CALLED_FAIL;
    }
    if (!stack_reserve(run, (size_t)base + 1 + p->n_regs + npos + nkw))
        return CALLED_FAIL;
    struct frame *f = frame_push(run);
    if (!f)
        return CALLED_FAIL;
    f->kind = FRAME_CODE;
    f->fn = fn;
    f->base = base + 1;
    f->dst = dst;
    f->pc = p->code;
    if (!bind_args(run, fn, f->base, npos, nkw, kwnames)) {
        /* The error is the callee's, before its first instruction. */
        f->freed = 1;
        return CALLED_FAIL;
    }
    return CALLED_CODE;
}

/* A builtin asked for a call: its continuation becomes a frame, the callee and its arguments go above
 * everything in use. */
static bool push_native(struct star_run *run, const struct builtin_obj *b, uint32_t base, uint16_t dst)
{
    struct frame *f = frame_push(run);
    if (!f)
        return false;
    f->kind = FRAME_NATIVE;
    f->dst = dst;
    f->base = base;
    f->then = run->then_fn;
    f->state = run->then_state;
    f->builtin = b;
    return true;
}

static bool place_then_call(struct star_run *run, uint32_t base)
{
    if (!stack_reserve(run, (size_t)base + 1 + run->then_n))
        return false;
    run->stack[base] = run->then_callee;
    if (run->then_n > 0)
        memmove(&run->stack[base + 1], run->then_args, run->then_n * sizeof(star_v));
    return true;
}

enum star_ret star_then(struct star_run *run, star_v fn, const star_v *args, size_t n, star_then_fn then, void *state)
{
    star_v *copy = NULL;
    if (n > 0) {
        copy = star_alloc(run->arena, n * sizeof *copy);
        if (!copy)
            return memory_fail(run);
        memcpy(copy, args, n * sizeof *copy);
    }
    run->then_callee = fn;
    run->then_args = copy;
    run->then_n = n;
    run->then_fn = then;
    run->then_state = state;
    return STAR_CALL;
}

static enum star_ret call_native(struct star_run *run, star_v callee, const star_v *args, size_t npos, size_t nkw,
                                 const star_v *kwnames, star_v *out)
{
    struct star_call call = {.recv = STAR_NULL, .pos = args, .npos = npos, .kwnames = kwnames, .kwvals = args + npos,
                             .nkw = nkw};
    if (is_type(callee, O_BUILTIN)) {
        const struct builtin_obj *b = BUILTIN_OBJ(callee);
        call.name = b->name;
        call.data = b->data;
        call.recv = b->recv;
        run->failed_builtin = b;
        return b->fn(run, &call, out);
    }
    const struct star_host_type *t = is_type(callee, O_HOST) ? HOST_OBJ(callee)->type : NULL;
    if (t && t->call) {
        call.name = str_from(t->name);
        call.data = HOST_OBJ(callee)->self;
        return t->call(run, &call, out);
    }
    return star_fail(run, "invalid call of non-function (%s)", star_type_name(callee));
}

struct transfer {
    uint32_t base;              /* of the callee on the stack */
    size_t npos, nkw;
    const star_v *kwnames;
    uint16_t dst;
};

/* Moves calls and results between frames until Starlark code is to run or the run stops. A loop, not
 * recursion: builtins that call builtins a million times use no C stack. */
static enum called transfer(struct star_run *run, bool have_value, star_v v, struct transfer t)
{
    for (;;) {
        enum star_ret r;
        const struct builtin_obj *b = NULL;
        struct frame *native = NULL;
        if (!have_value) {
            star_v callee = run->stack[t.base];
            if (is_type(callee, O_FUNCTION))
                return enter_function(run, FUNC_OBJ(callee), t.base, t.npos, t.nkw, t.kwnames, t.dst);
            if (is_type(callee, O_BUILTIN))
                b = BUILTIN_OBJ(callee);
            v = STAR_NULL;
            r = call_native(run, callee, &run->stack[t.base + 1], t.npos, t.nkw, t.kwnames, &v);
        } else {
            struct frame *f = &run->frames[run->n_frames - 1];
            if (f->kind == FRAME_CODE) {
                run->stack[f->base + t.dst] = v;
                return CALLED_VALUE;
            }
            if (f->kind == FRAME_ROOT) {
                run->result = v;
                return CALLED_DONE;
            }
            star_v out = STAR_NULL;
            native = f;
            r = f->then(run, f->state, v, &out);
            v = out;
            t.dst = f->dst;
            if (r == STAR_OK || r == STAR_BLOCK)
                run->n_frames--;
        }
        if (r == STAR_OK && !star_is_null(v)) {
            run->failed_builtin = NULL;
            have_value = true;
        } else if (r == STAR_BLOCK) {
            run->pending_dst = t.dst;
            run->waiting = WAIT_CALL;
            return CALLED_BLOCK;
        } else if (r == STAR_CALL) {
            run->failed_builtin = NULL;
            if (native) {
                native->then = run->then_fn;
                native->state = run->then_state;
                t.base = native->base;
            } else {
                t.base += 1 + (uint32_t)(t.npos + t.nkw);
                if (!push_native(run, b, t.base, t.dst))
                    return CALLED_FAIL;
            }
            t = (struct transfer){.base = t.base, .npos = run->then_n};
            if (!place_then_call(run, t.base) || !star_charge(run, 1))
                return CALLED_FAIL;
            have_value = false;
        } else {
            if (!run->has_msg)
                memory_fail(run);
            return CALLED_FAIL;
        }
    }
}

enum called call_any(struct star_run *run, uint32_t base, size_t npos, size_t nkw, const star_v *kwnames, uint16_t dst)
{
    return transfer(run, false, STAR_NULL, (struct transfer){base, npos, nkw, kwnames, dst});
}

enum called deliver(struct star_run *run, star_v v, uint16_t dst)
{
    return transfer(run, true, v, (struct transfer){.dst = dst});
}

/* ---- errors ---- */

static uint32_t frame_index(const struct frame *f, bool is_after)
{
    uint32_t i = (uint32_t)(f->pc - f->fn->proto->code);
    return is_after && i > 0 ? i - 1 : i;
}

static void end_loops(struct star_run *run, struct frame *f, uint32_t at)
{
    const struct proto *p = f->fn->proto;
    for (uint32_t i = 0; i < p->n_loops; i++) {
        const struct loop_range *l = &p->loops[i];
        star_v *r = &run->stack[f->base + l->reg];
        if (at >= l->from && at < l->to && !is_int(r[0]))
            loop_end(r);
    }
}

static void describe_frame(struct star_run *run, struct frame *f, uint32_t at, struct star_frame_info *out)
{
    if (f->kind == FRAME_NATIVE) {
        out->function = f->builtin ? f->builtin->name : STR("builtin");
        out->file = STR("<builtin>");
        return;
    }
    const struct proto *p = f->fn->proto;
    out->function = p->name;
    out->file = p->program->file;
    /* Arguments that do not fit are reported at the body's first instruction, as in the Go implementation. */
    while (f->freed && at + 1 < p->n_code && (p->code[at].op == OP_MKCELL || (p->code[at].op == OP_LOADIMM && p->code[at + 1].op == OP_MKCELL)))
        at++;
    struct code_pos pos = p->pos[at];
    out->line = (int)pos.line;
    out->col = (int)pos.col;
}

static void trace_line(struct buf *b, const struct star_frame_info *f)
{
    if (f->line > 0)
        buf_printf(b, "  " STR_FMT ":%d:%d: in " STR_FMT "\n", STR_ARG(f->file), f->line, f->col, STR_ARG(f->function));
    else
        buf_printf(b, "  " STR_FMT ": in " STR_FMT "\n", STR_ARG(f->file), STR_ARG(f->function));
}

static void build_backtrace(struct star_run *run, struct star_error *e, const struct builtin_obj *in)
{
    scoped_buf b = BUF_INIT(ERROR_RESERVE / 2);
    size_t n = e->n_frames;
    if (n > 0)
        buf_add_z(&b, "Traceback (most recent call last):\n");
    for (size_t i = 0; i < n; i++) {
        if (n > 2 * MAX_TRACE + 1 && i == MAX_TRACE) {
            buf_printf(&b, "  ... %zu more calls ...\n", n - 2 * MAX_TRACE);
            i = n - MAX_TRACE;
        }
        trace_line(&b, &e->frames[i]);
    }
    buf_add_z(&b, "Error");
    if (in)
        buf_printf(&b, " in " STR_FMT, STR_ARG(in->name));
    buf_add_z(&b, ": ");
    buf_add_str(&b, e->msg);
    e->backtrace = reserve_dup(run, buf_str(&b));
}

/* Ends all frames: their iterations first, then the report. `top_is_after`: the top frame's pc is behind the
 * call that failed rather than at the failing instruction. */
void unwind(struct star_run *run, bool top_is_after)
{
    if (!run->has_msg)
        memory_fail(run);
    struct star_error *e = &run->error;
    *e = (struct star_error){.msg = run->msg};
    e->why = run->why;
    size_t limit = run->arena->limit;
    if (limit)
        run->arena->limit = MAX(limit, run->arena->used) + ERROR_RESERVE;
    size_t shown = MIN(run->n_frames, 2000u);
    struct star_frame_info *infos = arena_try_alloc(run->arena, (shown + 1) * sizeof *infos);
    run->arena->limit = limit;
    size_t n = 0, code_frames = run->n_frames;
    for (uint32_t i = 0; i < run->n_frames; i++) {
        struct frame *f = &run->frames[i];
        if (f->kind == FRAME_ROOT)
            continue;
        uint32_t at = 0;
        if (f->kind == FRAME_CODE) {
            at = f->freed ? 0 : frame_index(f, i + 1 < code_frames || top_is_after);
            if (!f->freed)
                end_loops(run, f, at);
        }
        bool show = infos && (n < shown / 2 || run->n_frames - i <= shown / 2);
        if (show) {
            infos[n] = (struct star_frame_info){0};
            describe_frame(run, f, at, &infos[n++]);
        }
    }
    e->frames = infos;
    e->n_frames = n;
    build_backtrace(run, e, run->failed_builtin);
    run->failed_builtin = NULL;
    run->n_frames = 0;
}

const struct star_error *star_run_error(struct star_run *run)
{
    return &run->error;
}

bool star_run_err(struct star_run *run, struct err *err)
{
    const struct star_error *e = &run->error;
    enum err_code code = e->why == STAR_ERR_CANCELLED ? ERR_CANCELLED : ERR_INVALID;
    for (size_t i = e->n_frames; i-- > 0;) {
        const struct star_frame_info *f = &e->frames[i];
        if (f->line > 0)
            return err_set(err, code, STR_FMT ":%d:%d: " STR_FMT, STR_ARG(f->file), f->line, f->col, STR_ARG(e->msg));
    }
    return err_set(err, code, STR_FMT, STR_ARG(e->msg));
}

/* ---- starting and resuming ---- */

static bool run_begin(struct star_run *run)
{
    run->n_frames = 0;
    run->has_msg = false;
    run->failed_builtin = NULL;
    run->waiting = WAIT_NONE;
    run->is_completed = run->is_failed = false;
    run->is_exec = false;
    run->result = STAR_NONE;
    run->error = (struct star_error){0};
    run->phase = RUN_READY;
    struct frame *root = frame_push(run);
    if (!root)
        return false;
    root->kind = FRAME_ROOT;
    return true;
}

void star_run_call_kw(struct star_run *run, star_v fn, const star_v *args, size_t n, const struct star_binding *kw,
                      size_t nkw)
{
    if (!run_begin(run) || !stack_reserve(run, n + nkw + 2))
        return;
    run->stack[0] = fn;
    if (n > 0)
        memcpy(&run->stack[1], args, n * sizeof *args);
    star_v *names = NULL;
    if (nkw > 0 && !(names = star_alloc(run->arena, nkw * sizeof *names))) {
        memory_fail(run);
        return;
    }
    for (size_t i = 0; i < nkw; i++) {
        names[i] = star_string_z(run->arena, kw[i].name);
        run->stack[1 + n + i] = kw[i].value;
        if (star_is_null(names[i]))
            memory_fail(run);
    }
    run->then_args = names;
    run->then_n = n;
    run->then_state = (void *)nkw;
}

void star_run_call(struct star_run *run, star_v fn, const star_v *args, size_t n)
{
    star_run_call_kw(run, fn, args, n, NULL, 0);
}

static enum star_state finish(struct star_run *run, enum star_state s)
{
    account(run);
    run->phase = RUN_IDLE;
    if (s == STAR_DONE && run->is_exec) {
        struct star_module *m = run->module;
        for (uint32_t i = 0; i < m->n; i++)
            freeze_value(m->globals[i]);
    }
    return s;
}

static enum star_state after_vm(struct star_run *run, enum vm_end e)
{
    switch (e) {
    case VM_DONE: return finish(run, STAR_DONE);
    case VM_FAIL: return finish(run, STAR_ERROR);
    case VM_YIELD: return STAR_YIELD;
    case VM_BLOCK:
        run->phase = RUN_WAITING;
        return STAR_SUSPENDED;
    }
    BUG("vm_run: %d", (int)e);
}

static enum star_state after_call(struct star_run *run, enum called c)
{
    switch (c) {
    case CALLED_CODE:
    case CALLED_VALUE:
        run->phase = RUN_CODE;
        return after_vm(run, vm_run(run));
    case CALLED_DONE: return finish(run, STAR_DONE);
    case CALLED_BLOCK:
        run->phase = RUN_WAITING;
        return STAR_SUSPENDED;
    case CALLED_FAIL:
        unwind(run, true);
        return finish(run, STAR_ERROR);
    }
    BUG("call: %d", (int)c);
}

static enum star_state resume_waiting(struct star_run *run)
{
    if (!run->is_completed)
        return STAR_SUSPENDED;
    run->is_completed = false;
    bool is_iter = run->waiting == WAIT_ITER;
    if (run->is_failed) {
        run->is_failed = false;
        run->waiting = WAIT_NONE;
        unwind(run, !is_iter);
        return finish(run, STAR_ERROR);
    }
    run->failed_builtin = NULL;
    if (is_iter) {
        run->waiting = WAIT_ITER_DONE;  /* FORNEXT is executed again and takes it */
        run->phase = RUN_CODE;
        return after_vm(run, vm_run(run));
    }
    run->waiting = WAIT_NONE;
    if (star_is_null(run->pending))
        memory_fail(run);
    enum called c = star_is_null(run->pending) ? CALLED_FAIL : deliver(run, run->pending, run->pending_dst);
    return after_call(run, c);
}

static enum star_state resume(struct star_run *run)
{
    if (run->phase == RUN_WAITING)
        return resume_waiting(run);
    give_fuel(run);
    if (run->fuel == 0 && run->steps_used >= run->steps_limit && run->phase != RUN_IDLE) {
        fail_steps(run);
        unwind(run, true);
        return finish(run, STAR_ERROR);
    }
    switch (run->phase) {
    case RUN_READY:
        run->phase = RUN_CODE;
        if (run->has_msg)
            return after_call(run, CALLED_FAIL);
        return after_call(run, call_any(run, 0, run->then_n, (size_t)run->then_state, run->then_args, 0));
    case RUN_CODE:
        return after_vm(run, vm_run(run));
    default:
        return run->error.msg.len > 0 ? STAR_ERROR : STAR_DONE;
    }
}

enum star_state star_run_resume(struct star_run *run)
{
    struct star_run *outer = current;
    current = run;
    enum star_state s = resume(run);
    current = outer;
    return s;
}

enum star_state star_run_to_end(struct star_run *run)
{
    for (;;) {
        enum star_state s = star_run_resume(run);
        if (s == STAR_YIELD)
            continue;
        if (s == STAR_SUSPENDED) {
            star_run_complete_error(run, "a function that waits cannot be called here");
            continue;
        }
        return s;
    }
}

void star_run_complete(struct star_run *run, star_v result)
{
    if (run->phase != RUN_WAITING)
        return;
    run->pending = result;
    run->is_completed = true;
}

void star_run_complete_error(struct star_run *run, const char *fmt, ...)
{
    if (run->phase != RUN_WAITING)
        return;
    scoped_buf b = BUF_INIT(MAX_MESSAGE);
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&b, fmt, ap);
    va_end(ap);
    star_fail_str(run, buf_str(&b));
    run->is_completed = run->is_failed = true;
}

star_v star_run_result(const struct star_run *run)
{
    return run->result;
}
struct star_module *star_run_module(const struct star_run *run)
{
    return run->module;
}

/* ---- modules' top level ---- */

static bool bind_predeclared(struct star_run *run, struct star_module *m, const struct star_env *env)
{
    const struct star_program *p = m->program;
    for (uint32_t i = 0; i < p->n_pre; i++) {
        struct str name = str_of_v(p->pre_names[i]);
        m->predeclared[i] = STAR_NULL;
        for (size_t k = 0; env && k < env->n; k++)
            if (str_eq_z(name, env->items[k].name))
                m->predeclared[i] = env->items[k].value;
        if (star_is_null(m->predeclared[i]))
            return FAIL_FALSE(run, "internal error: predeclared variable " STR_FMT " is uninitialized", STR_ARG(name));
    }
    return true;
}

void star_run_exec(struct star_run *run, const struct star_program *p, const struct star_env *env)
{
    struct arena *a = run->arena;
    struct star_module *m = star_alloc(a, sizeof *m);
    struct func_obj *fn = new_obj(a, sizeof *fn, O_FUNCTION);
    star_v *globals = star_alloc(a, (p->n_globals + 1) * sizeof *globals);
    star_v *pre = star_alloc(a, (p->n_pre + 1) * sizeof *pre);
    star_run_call(run, fn ? obj_v(fn) : STAR_NONE, NULL, 0);
    if (!m || !fn || !globals || !pre) {
        memory_fail(run);
        return;
    }
    for (uint32_t i = 0; i < p->n_globals; i++)
        globals[i] = STAR_NULL;
    *m = (struct star_module){
        .name = p->file, .program = p, .names = p->global_names, .globals = globals, .hidden = p->global_hidden,
        .n = p->n_globals, .predeclared = pre,
    };
    fn->proto = p->top;
    fn->module = m;
    fn->free = NULL;
    fn->defaults = NULL;
    run->module = m;
    run->is_exec = true;
    bind_predeclared(run, m, env);
}
