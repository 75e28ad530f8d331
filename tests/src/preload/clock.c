/* A machine whose clock was set, for one program.
 *
 * Preloaded into the program under test. The time of day is that of the machine, and as many seconds more as the file
 * CLOCK_OFFSET says; the time that passes is nobody's to set. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long offset(void)
{
    char text[32];
    const char *file = getenv("CLOCK_OFFSET");
    if (file == NULL)
        return 0;
    int saved = errno;
    long seconds = 0;
    int fd = syscall(SYS_openat, AT_FDCWD, file, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t length = syscall(SYS_read, fd, text, sizeof text - 1);
        if (length > 0) {
            text[length] = '\0';
            seconds = atol(text);
        }
        syscall(SYS_close, fd);
    }
    errno = saved;
    return seconds;
}

int clock_gettime(clockid_t clock, struct timespec *at)
{
    int failed = syscall(SYS_clock_gettime, clock, at);
    if (failed == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        at->tv_sec += offset();
    return failed;
}

int gettimeofday(struct timeval *at, void *zone)
{
    int failed = syscall(SYS_gettimeofday, at, zone);
    if (failed == 0)
        at->tv_sec += offset();
    return failed;
}

time_t time(time_t *also)
{
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    if (also != NULL)
        *also = at.tv_sec;
    return at.tv_sec;
}
