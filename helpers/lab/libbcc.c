/*
 * What Python in the lab's image loads as libbcc.so.0. It stands in front of Debian's own library, which it hands everything
 * on to, and changes two things that make each BPF(…) slow: clang starts from precompiled headers, and /proc/kallsyms is
 * not read for a yes or no. Wherever the outcome might not be the same it leaves the library alone.
 *
 * FOLDER/RELEASE/ holds what precompile.py made for a kernel: HEADER.pch, clang's state after BCC's own headers and HEADER
 * (none for bcc.pch), HEADER.made, which lists what it was made from, and HEADER.counters, by which clang counts on
 * from where it was then.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>

/* What BCC, or clang inside of it, takes from the environment. */
static const char *const settings[] = {
    "ARCH", "BCC_KERNEL_SOURCE", "BCC_KERNEL_MODULES_SUFFIX", "BCC_LINUX_VERSION_CODE",
    "CPATH", "C_INCLUDE_PATH", "CCC_OVERRIDE_OPTIONS", "CCC_ADD_ARGS",
};

/* Macros that BCC defines for clang. Where a text defines one again, messages may tell another place of the first one. */
static const char *const macros[] = {
    "KBUILD_MODNAME", "__KERNEL__", "__BPF_TRACING__", "__HAVE_BUILTIN_BSWAP", "__TARGET_ARCH_",
};

typedef void *compile_function(const char *, unsigned, const char **, int, bool, const char *);
typedef int resolve_function(void *, const char *, const char *, uint64_t *);

static void *real(const char *name)
{
    static void *library;

    if (!library)
        library = dlopen(LIBBCC, RTLD_LAZY | RTLD_NOLOAD);
    return dlsym(library, name);
}

/* Each line has a size, a time and a path; a size of -1 is for a name that would be found in the current directory first. */
static bool unchanged(const char *list)
{
    FILE *file = fopen(list, "re");
    bool same = file;
    long size, time;
    char path[512];
    struct stat now;

    while (same && fscanf(file, "%ld %ld %511[^\n]", &size, &time, path) == 3)
        same = stat(path, &now) ? size < 0 : now.st_size == size && now.st_mtime == time;
    if (file)
        fclose(file);
    return same;
}

/*
 * The name of the next header that a text includes, up to '>', before it does anything else: NULL after the last of them.
 * Only comments may stand between them, and only the kernel's own headers count, whose order does not matter.
 */
static const char *next_include(const char **text, bool new_line)
{
    static const char *const folders[] = { "linux/", "uapi/", "net/", "asm/", "bcc/" };
    const char *at = *text, *name;

    for (;; at++) {
        if (!strncmp(at, "//", 2)) {
            at += strcspn(at, "\\\n");
            if (*at != '\n')
                return NULL;
        } else if (!strncmp(at, "/*", 2)) {
            at = strstr(at + 2, "*/");
            if (!at++)
                return NULL;
            continue;
        } else if (*at == '#' && new_line)
            break;
        else if (!*at || !strchr(" \t\n", *at))
            return NULL;
        new_line |= *at == '\n';
    }
    at += 1 + strspn(at + 1, " \t");
    if (strncmp(at, "include", 7))
        return NULL;
    at += 7 + strspn(at + 7, " \t");
    name = at + 1;
    if (*at != '<' || *(at += strcspn(at, ">\n")) != '>')
        return NULL;
    *text = at + 1;
    for (unsigned i = 0; i < sizeof(folders) / sizeof(*folders); i++)
        if (!strncmp(name, folders[i], strlen(folders[i])))
            return name;
    return NULL;
}

/*
 * The precompiled header to compile a text with, or NULL for none: bcc.pch, or the largest of the headers it includes.
 * Exported for those who want to know, such as the tests.
 */
const char *bcc_precompiled(const char *text, unsigned debug, int ncflags)
{
    static _Thread_local char path[512];
    char folder[256], other[512];
    long size = 0;
    struct utsname kernel;
    struct stat found;
    const char *name;
    bool first = true;

    if (debug || ncflags || uname(&kernel))
        return NULL;
    for (unsigned i = 0; i < sizeof(settings) / sizeof(*settings); i++)
        if (getenv(settings[i]))
            return NULL;
    for (unsigned i = 0; i < sizeof(macros) / sizeof(*macros); i++)
        if (strstr(text, macros[i]))
            return NULL;
    snprintf(folder, sizeof(folder), FOLDER "/%s", kernel.release);
    snprintf(path, sizeof(path), "%s/bcc.pch", folder);
    while ((name = next_include(&text, first))) {
        first = false;
        snprintf(other, sizeof(other), "%s/%.*s.pch", folder, (int)strcspn(name, ">"), name);
        if (!stat(other, &found) && found.st_size > size) {
            size = found.st_size;
            strcpy(path, other);
        }
    }
    snprintf(other, sizeof(other), "%.*s.made", (int)strlen(path) - 4, path);
    return unchanged(other) ? path : NULL;
}

void *bpf_module_create_c_from_string(const char *text, unsigned debug, const char **cflags, int ncflags,
                                      bool allow_rlimit, const char *device)
{
    compile_function *compile = real(__func__);
    const char *precompiled = bcc_precompiled(text, debug, ncflags);
    char counters[512];
    /* What clang would look at again, each of three times, has just been found unchanged. */
    const char *ours[] = { "-include-pch", precompiled, "-include", counters, "-Xclang", "-fno-validate-pch" };

    if (!precompiled)
        return compile(text, debug, cflags, ncflags, allow_rlimit, device);
    snprintf(counters, sizeof(counters), "%.*s.counters", (int)strlen(precompiled) - 4, precompiled);
    return compile(text, debug, ours, sizeof(ours) / sizeof(*ours), allow_rlimit, device);
}

/* libbcc itself asks only whether the kernel has a function, and Linux 5.5 and later do. Others get its address. */
int bcc_symcache_resolve_name(void *resolver, const char *module, const char *name, uint64_t *address)
{
    resolve_function *resolve = real(__func__);
    int major, minor;
    struct utsname kernel;
    Dl_info caller, library;

    if ((!strcmp(name, "bpf_probe_read_kernel") || !strcmp(name, "bpf_probe_read_user")) &&
        dladdr(__builtin_return_address(0), &caller) && dladdr(resolve, &library) &&
        caller.dli_fbase == library.dli_fbase &&
        !uname(&kernel) && sscanf(kernel.release, "%d.%d", &major, &minor) == 2 &&
        (major > 5 || (major == 5 && minor >= 5)))
        return 0;
    return resolve(resolver, module, name, address);
}
