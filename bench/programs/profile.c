/*
 * A plugin for QEMU's TCG that counts how often each guest instruction is executed.
 *
 * Counts everything, or only what lies between marks: the instruction `xchg %bx, %bx`, which does nothing, begins a
 * region and the next one ends it. Made for one virtual CPU. The few declarations of QEMU's plugin API (version 1)
 * that it needs stand here, since Debian has no package with the header.
 *
 * arguments: out=PATH      where to write, at QEMU's end, a line `address count` for each instruction
 *            marked=on     count only in regions
 *            until=mark    count everything up to the first mark
 *            from=ADDRESS  forget what was before the instruction at this address (hexadecimal) is first executed
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
typedef struct qemu_info_t qemu_info_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum qemu_plugin_cb_flags { QEMU_PLUGIN_CB_NO_REGS };
enum qemu_plugin_op { QEMU_PLUGIN_INLINE_ADD_U64 };

size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *, void (*)(unsigned, void *),
                                            enum qemu_plugin_cb_flags, void *);
void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *, enum qemu_plugin_op, void *, uint64_t);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, void *), void *);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

#define SLOTS (1u << 21)

/* An instruction: how often it was executed, that at the region's begin, and the sum over all regions. */
static struct slot {
    uint64_t address, count, at_begin, in_regions;
} *slots;

static enum { EVERYTHING, MARKED, UNTIL_MARK } mode;
static const char *path;
static unsigned marks;
static uint64_t from;

static struct slot *slot_of(uint64_t address) {
    uint64_t at = address * 0x9e3779b97f4a7c15u >> 43;
    for (unsigned tries = 0; tries < SLOTS; tries++, at++) {
        struct slot *slot = &slots[at % SLOTS];
        if (!slot->address) slot->address = address;
        if (slot->address == address) return slot;
    }
    fprintf(stderr, "profile: more than %u instructions\n", SLOTS);
    exit(1);
}

static void on_mark(unsigned cpu, void *unused) {
    (void)cpu, (void)unused;
    bool begins = marks++ % 2 == 0;
    if (mode == UNTIL_MARK && marks > 1) return;
    for (struct slot *slot = slots; slot < slots + SLOTS; slot++) {
        if (mode == UNTIL_MARK || !begins) slot->in_regions += slot->count - slot->at_begin;
        slot->at_begin = slot->count;
    }
}

static void on_from(unsigned cpu, void *unused) {
    (void)cpu, (void)unused;
    if (!from) return;
    from = 0;
    for (struct slot *slot = slots; slot < slots + SLOTS; slot++) slot->count = 0;
}

static bool is_mark(const struct qemu_plugin_insn *insn) {
    return qemu_plugin_insn_size(insn) == 3 && !memcmp(qemu_plugin_insn_data(insn), "\x66\x87\xdb", 3);
}

static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb *block) {
    (void)id;
    for (size_t i = 0; i < qemu_plugin_tb_n_insns(block); i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(block, i);
        struct slot *slot = slot_of(qemu_plugin_insn_vaddr(insn));
        if (from && qemu_plugin_insn_vaddr(insn) == from)
            qemu_plugin_register_vcpu_insn_exec_cb(insn, on_from, QEMU_PLUGIN_CB_NO_REGS, NULL);
        qemu_plugin_register_vcpu_insn_exec_inline(insn, QEMU_PLUGIN_INLINE_ADD_U64, &slot->count, 1);
        if (is_mark(insn)) qemu_plugin_register_vcpu_insn_exec_cb(insn, on_mark, QEMU_PLUGIN_CB_NO_REGS, NULL);
    }
}

static void on_exit_(qemu_plugin_id_t id, void *unused) {
    (void)id, (void)unused;
    FILE *file = fopen(path, "w");
    if (!file) return perror(path);
    for (struct slot *slot = slots; slot < slots + SLOTS; slot++) {
        uint64_t count = mode == EVERYTHING ? slot->count : slot->in_regions;
        if (count) fprintf(file, "%" PRIx64 " %" PRIu64 "\n", slot->address, count);
    }
    fclose(file);
}

__attribute__((visibility("default"))) int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc,
                                                               char **argv) {
    (void)info;
    for (int i = 0; i < argc; i++) {
        if (!strncmp(argv[i], "out=", 4)) path = strdup(argv[i] + 4);
        if (!strcmp(argv[i], "marked=on")) mode = MARKED;
        if (!strcmp(argv[i], "until=mark")) mode = UNTIL_MARK;
        if (!strncmp(argv[i], "from=", 5)) from = strtoull(argv[i] + 5, NULL, 16);
    }
    slots = calloc(SLOTS, sizeof *slots);
    if (!path || !slots) return 1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    qemu_plugin_register_atexit_cb(id, on_exit_, NULL);
    return 0;
}
