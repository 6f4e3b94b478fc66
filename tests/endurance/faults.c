/* Faults of a disk for the files of one name, below Python and the decoders.
 *
 * The file that HARNESS_FAULT names holds "KIND TEXT". Files whose path contains TEXT then fail: `denied` when they are
 * opened, `eio` when they are read, `short` by an early end, and reads of `wait` take ten minutes. A kind that ends in 1, such as
 * `eio1`, fails once: the file that HARNESS_FAULT names is removed.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FILES 4096
static char kinds[FILES];

static char fault_of(const char *path) {
    const char *control = getenv("HARNESS_FAULT");
    char text[512], kind[16], name[400];
    if (!control || !path) return 0;
    int fd = syscall(SYS_openat, AT_FDCWD, control, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0) return 0;
    long length = syscall(SYS_read, fd, text, sizeof text - 1);
    syscall(SYS_close, fd);
    if (length <= 0) return 0;
    text[length] = 0;
    if (sscanf(text, "%15s %399[^\n]", kind, name) != 2 || !strstr(path, name)) return 0;
    if (kind[strlen(kind) - 1] == '1') syscall(SYS_unlinkat, AT_FDCWD, control, 0);
    return kind[0];
}

static int opened(int folder, const char *path, int flags, mode_t mode) {
    char kind = fault_of(path);
    if (kind == 'd') {
        errno = EACCES;
        return -1;
    }
    int fd = syscall(SYS_openat, folder, path, flags, mode);
    if (fd >= 0 && fd < FILES) kinds[fd] = kind;
    return fd;
}

#define MODE(flags) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | O_TMPFILE)) { \
        va_list rest; \
        va_start(rest, flags); \
        mode = va_arg(rest, mode_t); \
        va_end(rest); \
    }

int open(const char *path, int flags, ...) { MODE(flags) return opened(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) return opened(AT_FDCWD, path, flags, mode); }
int openat(int folder, const char *path, int flags, ...) { MODE(flags) return opened(folder, path, flags, mode); }
int openat64(int folder, const char *path, int flags, ...) { MODE(flags) return opened(folder, path, flags, mode); }

ssize_t read(int fd, void *buffer, size_t count) {
    char kind = fd >= 0 && fd < FILES ? kinds[fd] : 0;
    if (kind == 'e') {
        errno = EIO;
        return -1;
    }
    if (kind == 'w') sleep(600);
    if (kind == 's') return 0;
    return syscall(SYS_read, fd, buffer, count);
}

int close(int fd) {
    if (fd >= 0 && fd < FILES) kinds[fd] = 0;
    return syscall(SYS_close, fd);
}
