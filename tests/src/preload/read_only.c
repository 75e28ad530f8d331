/* A folder whose file system turns read-only under a running program, as the kernel makes one after an error of its own.
 *
 * Preloaded into the program under test. While the file READ_ONLY_WHILE exists, whatever would change a file in the folder
 * READ_ONLY_FOLDER is answered as such a file system answers: "Read-only file system". To make the kernel do it takes a
 * block device and root. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static int refuses(const char *path)
{
    const char *folder = getenv("READ_ONLY_FOLDER"), *while_it_exists = getenv("READ_ONLY_WHILE");
    if (folder == NULL || while_it_exists == NULL || strncmp(path, folder, strlen(folder)) != 0)
        return 0;
    int saved = errno;
    int exists = syscall(SYS_faccessat, AT_FDCWD, while_it_exists, F_OK) == 0;
    errno = saved;
    return exists;
}

static int refuses_fd(int fd)
{
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int saved = errno;
    ssize_t length = readlink(link, path, sizeof path - 1);
    errno = saved;
    if (length < 0)
        return 0;
    path[length] = '\0';
    return refuses(path);
}

#define REFUSED (errno = EROFS, -1)

static int open_at(int folder, const char *path, int flags, mode_t mode)
{
    int writes = (flags & O_ACCMODE) != O_RDONLY || (flags & (O_CREAT | O_TRUNC)) != 0;
    if (writes && refuses(path))
        return REFUSED;
    return syscall(SYS_openat, folder, path, flags, mode);
}

#define MODE_OF(flags)                                                                                                  \
    mode_t mode = 0;                                                                                                    \
    if ((flags) & (O_CREAT | O_TMPFILE)) {                                                                              \
        va_list rest;                                                                                                   \
        va_start(rest, flags);                                                                                          \
        mode = va_arg(rest, int);                                                                                       \
        va_end(rest);                                                                                                   \
    }

int open(const char *path, int flags, ...) { MODE_OF(flags) return open_at(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE_OF(flags) return open_at(AT_FDCWD, path, flags, mode); }
int openat(int at, const char *path, int flags, ...) { MODE_OF(flags) return open_at(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { MODE_OF(flags) return open_at(at, path, flags, mode); }

ssize_t write(int fd, const void *from, size_t length)
{
    return refuses_fd(fd) ? REFUSED : syscall(SYS_write, fd, from, length);
}

ssize_t writev(int fd, const struct iovec *from, int count)
{
    return refuses_fd(fd) ? REFUSED : syscall(SYS_writev, fd, from, count);
}

ssize_t pwrite64(int fd, const void *from, size_t length, off64_t at)
{
    return refuses_fd(fd) ? REFUSED : syscall(SYS_pwrite64, fd, from, length, at);
}

ssize_t pwrite(int fd, const void *from, size_t length, off_t at) { return pwrite64(fd, from, length, at); }

int ftruncate64(int fd, off64_t length) { return refuses_fd(fd) ? REFUSED : syscall(SYS_ftruncate, fd, length); }
int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }
int unlink(const char *path) { return refuses(path) ? REFUSED : syscall(SYS_unlinkat, AT_FDCWD, path, 0); }
