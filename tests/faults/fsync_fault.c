/*
 * Makes every sync of the program fail while a file exists.
 *
 * Built as a shared library and loaded with LD_PRELOAD. FSYNC_FAULT_FILE names the control file:
 * while it exists, fsync() and fdatasync() return -1 with errno EIO and sync nothing; otherwise
 * they are the C library's own.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

typedef int (*sync_function)(int);

static int fails(void)
{
    const char *control = getenv("FSYNC_FAULT_FILE");
    int before = errno;
    int exists = control != NULL && access(control, F_OK) == 0;
    errno = exists ? EIO : before;
    return exists;
}

int fsync(int descriptor)
{
    if (fails())
        return -1;
    return ((sync_function)dlsym(RTLD_NEXT, "fsync"))(descriptor);
}

int fdatasync(int descriptor)
{
    if (fails())
        return -1;
    return ((sync_function)dlsym(RTLD_NEXT, "fdatasync"))(descriptor);
}
