// LD_PRELOAD model of a disk that fails on demand. DF_ROOT = the folder that fails, DF_FLAG = a file whose first letter
// says how: f = full (writes fail with ENOSPC), s = syncs fail with EIO, r = read-only (opening to write fails with EROFS).
// Without that file the disk is good.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name) static __typeof__(&name) real; if (!real) real = dlsym(RTLD_NEXT, #name)

static int (*real_open)(const char *, int, ...);
static ssize_t (*real_read)(int, void *, size_t);
static int (*real_close)(int);
static const char *root, *flag;

__attribute__((constructor)) static void init(void) {
    real_open = dlsym(RTLD_NEXT, "open64");
    real_read = dlsym(RTLD_NEXT, "read");
    real_close = dlsym(RTLD_NEXT, "close");
    root = getenv("DF_ROOT");
    flag = getenv("DF_FLAG");
}

static int is_on(char how) {
    if (!root || !flag) return 0;
    int saved = errno, fd = real_open(flag, O_RDONLY | O_CLOEXEC);
    char c = 0;
    if (fd >= 0) {
        if (real_read(fd, &c, 1) != 1) c = 0;
        real_close(fd);
    }
    errno = saved;
    return c == how;
}

static int is_inside(const char *path) {
    return !strncmp(path, root, strlen(root));
}

static int fails(int fd, char how) {
    if (!is_on(how)) return 0;
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n <= 0) return 0;
    path[n] = 0;
    return is_inside(path);
}

static int denies(const char *path, int flags) {
    if ((flags & O_ACCMODE) == O_RDONLY && !(flags & O_CREAT)) return 0;
    if (!is_on('r')) return 0;
    char whole[PATH_MAX];
    if (path[0] == '/') return is_inside(path);
    char here[PATH_MAX];
    if (!getcwd(here, sizeof here)) return 0;
    snprintf(whole, sizeof whole, "%s/%s", here, path);
    return is_inside(whole);
}

#define FAIL(code) do { errno = code; return -1; } while (0)
#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        mode_t mode = 0; \
        if (flags & (O_CREAT | O_TMPFILE)) { va_list v; va_start(v, flags); mode = va_arg(v, mode_t); va_end(v); } \
        if (denies(path, flags)) FAIL(EROFS); \
        REAL(name); \
        return real(path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

ssize_t write(int fd, const void *b, size_t n) { if (fails(fd, 'f')) FAIL(ENOSPC); REAL(write); return real(fd, b, n); }
ssize_t writev(int fd, const struct iovec *v, int c) { if (fails(fd, 'f')) FAIL(ENOSPC); REAL(writev); return real(fd, v, c); }
ssize_t pwrite(int fd, const void *b, size_t n, off_t o) { if (fails(fd, 'f')) FAIL(ENOSPC); REAL(pwrite); return real(fd, b, n, o); }
ssize_t pwrite64(int fd, const void *b, size_t n, off64_t o) { if (fails(fd, 'f')) FAIL(ENOSPC); REAL(pwrite64); return real(fd, b, n, o); }
int fsync(int fd) { if (fails(fd, 's')) FAIL(EIO); REAL(fsync); return real(fd); }
int fdatasync(int fd) { if (fails(fd, 's')) FAIL(EIO); REAL(fdatasync); return real(fd); }
int mkdir(const char *path, mode_t m) { if (denies(path, O_WRONLY | O_CREAT)) FAIL(EROFS); REAL(mkdir); return real(path, m); }
