// SPDX-License-Identifier: MIT
// kinds KIND [FILE]: handlers that start in different ways and touch their client by different calls. What each does
// after that is the same: it gives back what it reads, until the client has said all.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static char buffer[65536];

static void say(const char* text) {
    for (size_t left = strlen(text); left > 0;) {
        ssize_t n = write(1, text, left);
        if (n <= 0) exit(1);
        text += n, left -= (size_t)n;
    }
}

static void give_back(int in, ssize_t first) {
    for (ssize_t n = first; n > 0 || (n == -1 && errno == EAGAIN); n = read(in, buffer, sizeof buffer)) {
        struct pollfd p = {in, POLLIN, 0};
        if (n < 0) poll(&p, 1, -1);
        for (ssize_t at = 0, k; n > 0 && at < n; at += k)
            if ((k = write(1, buffer + at, (size_t)(n - at))) <= 0) exit(1);
    }
    exit(0);
}

static volatile sig_atomic_t raised;
static void on_signal(int number) {
    raised = number;
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int turn, pulse;
static void* other_thread(void* unused) {
    pthread_mutex_lock(&lock);
    while (turn == 0) pthread_cond_wait(&changed, &lock);
    turn = 2;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
    return unused;
}
static void* busy_thread(void* unused) {
    for (;;) __atomic_fetch_add(&pulse, 1, __ATOMIC_RELAXED);
    return unused;
}
static void start_thread(void* (*what)(void*)) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, what, NULL) != 0) exit(1);
}

#ifdef __x86_64__
/// read(2) with something of its own in every register and in the red zone. 1: all is as it was after it.
__attribute__((noinline)) static long read_with_registers(long* all_kept) {
    static const long vector[2] = {0x1111, 0x2222};
    long kept, n;
    __asm__ volatile(
        "movdqu %[vector], %%xmm7\n"
        "movq $0x77, -8(%%rsp)\n movq $0x78, -120(%%rsp)\n"
        "mov $0x12, %%r12\n mov $0x13, %%r13\n mov $0x14, %%r14\n mov $0x15, %%r15\n mov $0x1b, %%rbx\n"
        "mov $0x10, %%r10\n mov $0x8, %%r8\n mov $0x9, %%r9\n"
        "mov $0, %%eax\n mov $0, %%edi\n lea %[buffer], %%rsi\n mov $65536, %%edx\n std\n cld\n stc\n syscall\n"
        "mov $0, %%ecx\n"
        "jnc 1f\n"
        "cmpq $0x77, -8(%%rsp)\n jne 1f\n cmpq $0x78, -120(%%rsp)\n jne 1f\n"
        "cmp $0x12, %%r12\n jne 1f\n cmp $0x13, %%r13\n jne 1f\n cmp $0x14, %%r14\n jne 1f\n cmp $0x15, %%r15\n jne "
        "1f\n"
        "cmp $0x1b, %%rbx\n jne 1f\n cmp $0x10, %%r10\n jne 1f\n cmp $0x8, %%r8\n jne 1f\n cmp $0x9, %%r9\n jne 1f\n"
        "test %%edi, %%edi\n jne 1f\n cmp $65536, %%edx\n jne 1f\n"
        "movq %%xmm7, %%r11\n cmp $0x1111, %%r11\n jne 1f\n"
        "mov $1, %%ecx\n 1:\n"
        : "=a"(n), "=c"(kept)
        : [vector] "m"(vector), [buffer] "m"(buffer)
        : "rbx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "xmm7", "memory", "cc");
    *all_kept = kept;
    return n;
}
#else
static long read_with_registers(long* all_kept) {
    *all_kept = 1;
    return read(0, buffer, sizeof buffer);
}
#endif

static int is(const char* a, const char* b) {
    return strcmp(a, b) == 0;
}

static void by_call(const char* kind) {
    struct iovec part = {buffer, sizeof buffer};
    if (is(kind, "read")) give_back(0, read(0, buffer, sizeof buffer));
    if (is(kind, "recv")) give_back(0, recv(0, buffer, sizeof buffer, 0));
    if (is(kind, "readv")) give_back(0, readv(0, &part, 1));
    if (is(kind, "poll")) {
        struct pollfd both[2] = {{2, 0, 0}, {0, POLLIN, 0}};
        poll(both, 2, -1);
        give_back(0, read(0, buffer, sizeof buffer));
    }
    if (is(kind, "asks-and-polls")) {  // as Rust's start does
        struct pollfd three[3] = {{0, 0, 0}, {1, 0, 0}, {2, 0, 0}};
        poll(three, 3, 0);
        getpid();
        give_back(0, read(0, buffer, sizeof buffer));
    }
    if (is(kind, "select")) {
        fd_set set;
        FD_ZERO(&set);
        FD_SET(0, &set);
        select(1, &set, NULL, NULL, NULL);
        give_back(0, read(0, buffer, sizeof buffer));
    }
    if (is(kind, "epoll")) {
        int poller = epoll_create1(EPOLL_CLOEXEC);
        struct epoll_event event = {EPOLLIN, {0}};
        if (epoll_ctl(poller, EPOLL_CTL_ADD, 0, &event) != 0 || epoll_wait(poller, &event, 1, -1) != 1) exit(1);
        give_back(0, read(0, buffer, sizeof buffer));
    }
    if (is(kind, "stdio")) {
        while (fgets(buffer, sizeof buffer, stdin) != NULL) fputs(buffer, stdout);
        exit(0);
    }
    if (is(kind, "writes")) {
        say("first ");
        give_back(0, read(0, buffer, sizeof buffer));
    }
    if (is(kind, "errors")) {
        if (write(2, "first ", 6) != 6) exit(1);
        give_back(0, read(0, buffer, sizeof buffer));
    }
    if (is(kind, "peer")) {
        struct sockaddr_storage peer;
        socklen_t size = sizeof peer;
        if (getpeername(0, (struct sockaddr*)&peer, &size) != 0) exit(1);
        dprintf(1, "%d ", peer.ss_family == AF_INET ? ntohs(((struct sockaddr_in*)&peer)->sin_port) : 0);
        give_back(0, read(0, buffer, sizeof buffer));
    }
    if (is(kind, "asks-kind")) {
        int type = 0, accepts = 1;
        socklen_t size = sizeof type;
        getsockopt(0, SOL_SOCKET, SO_TYPE, &type, &size);
        getsockopt(0, SOL_SOCKET, SO_ACCEPTCONN, &accepts, &size);
        getpid();
        if (type != SOCK_STREAM || accepts != 0) exit(1);
        getsockopt(0, SOL_SOCKET, SO_ERROR, &type, &size);  // of its client
        give_back(0, read(0, buffer, sizeof buffer));
    }
    if (is(kind, "closes")) {
        close(0);
        say("closed");
        exit(0);
    }
    if (is(kind, "dups")) {
        int again = dup(0);
        close(0);
        give_back(again, read(again, buffer, sizeof buffer));
    }
    if (is(kind, "nonblock")) {
        fcntl(0, F_SETFL, fcntl(0, F_GETFL) | O_NONBLOCK);
        give_back(0, read(0, buffer, sizeof buffer));
    }
    if (is(kind, "cloexec")) {
        fcntl(0, F_SETFD, FD_CLOEXEC);
        dprintf(1, "%d%d ", fcntl(0, F_GETFD), fcntl(1, F_GETFD));
        give_back(0, read(0, buffer, sizeof buffer));
    }
}

static void* reading_thread(void* unused) {
    by_call("read");
    return unused;
}

static void with_something(const char* kind, const char* file) {
    if (is(kind, "threads")) {
        start_thread(other_thread);
        start_thread(busy_thread);
        while (__atomic_load_n(&pulse, __ATOMIC_RELAXED) == 0) sched_yield();
        ssize_t n = read(0, buffer, sizeof buffer);
        pthread_mutex_lock(&lock);
        turn = 1;
        pthread_cond_signal(&changed);
        while (turn != 2) pthread_cond_wait(&changed, &lock);
        for (int before = __atomic_load_n(&pulse, __ATOMIC_RELAXED);
             __atomic_load_n(&pulse, __ATOMIC_RELAXED) == before;)
            sched_yield();
        give_back(0, n);
    }
    if (is(kind, "thread-reads")) {  // another thread than the first one touches
        start_thread(busy_thread);
        pthread_t thread;
        pthread_create(&thread, NULL, reading_thread, NULL);
        pthread_join(thread, NULL);
    }
    if (is(kind, "timer")) {
        struct itimerval hour = {{0, 0}, {3600, 0}};
        setitimer(ITIMER_REAL, &hour, NULL);
    }
    if (is(kind, "pipe")) {
        int ends[2];
        if (pipe(ends) != 0) exit(1);
    }
    if (is(kind, "shared")) {
        int fd = open(file, O_RDWR);
        if (mmap(NULL, 4, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED) exit(1);
        close(fd);
    }
    if (is(kind, "lock") && flock(open(file, O_RDONLY), LOCK_SH) != 0) exit(1);
    if (is(kind, "writing") && open(file, O_WRONLY) < 0) exit(1);
    if (is(kind, "random") && getrandom(buffer, 16, 0) != 16) exit(1);
    if (is(kind, "uring")) syscall(SYS_io_uring_setup, 1, buffer);
    if (is(kind, "ends")) exit(3);
    if (is(kind, "never"))
        for (;;) pause();
    if (is(kind, "forks")) {
        if (fork() == 0) _exit(0);
        wait(NULL);
    }
    if (is(kind, "fills")) {  // no memory is left for a stub
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_AS, &none);
    }
    if (is(kind, "execs")) execl("/proc/self/exe", "kinds", "read", NULL);
    if (is(kind, "seeks")) {
        int fd = open(file, O_RDONLY), folder = open("/", O_RDONLY | O_DIRECTORY);
        char four[5] = "";
        if (fd < 0 || folder < 0 || read(fd, four, 4) != 4) exit(1);
        while (read(0, buffer, sizeof buffer) > 0) {
            if (read(fd, four, 4) != 4) exit(1);
            say(four);
        }
        exit(0);
    }
}

static void about_itself(const char* kind) {
    if (is(kind, "raises")) {  // by the number that the library keeps of its thread
        signal(SIGUSR1, on_signal);
        ssize_t n = read(0, buffer, sizeof buffer);
        raise(SIGUSR1);
        say(raised == SIGUSR1 ? "raised " : "lost ");
        give_back(0, n);
    }
    if (is(kind, "pid")) {
        ssize_t n = read(0, buffer, sizeof buffer);
        dprintf(1, "%d %d ", (int)getpid(), getsid(0) == getpid());
        give_back(0, n);
    }
    if (is(kind, "mask")) {
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGUSR1);
        sigprocmask(SIG_BLOCK, &set, NULL);
        ssize_t n = read(0, buffer, sizeof buffer);
        sigprocmask(SIG_BLOCK, NULL, &set);
        dprintf(1, "%d%d%d ", sigismember(&set, SIGUSR1), sigismember(&set, SIGTERM), sigismember(&set, SIGCHLD));
        give_back(0, n);
    }
    if (is(kind, "waits")) {  // for a signal that came while it was parked
        signal(SIGUSR1, on_signal);
        long n = read(0, buffer, sizeof buffer);
        say(raised == SIGUSR1 ? "told " : "not ");
        if (n < 0) n = read(0, buffer, sizeof buffer);  // musl and glibc: signal(2) restarts
        give_back(0, n);
    }
    if (is(kind, "registers")) {
        long kept = 0, n = read_with_registers(&kept);
        say(kept ? "kept " : "lost ");
        give_back(0, n);
    }
    if (is(kind, "descriptors")) {
        ssize_t n = read(0, buffer, sizeof buffer);
        DIR* folder = opendir("/proc/self/fd");
        int count = -3;  // "." and "..", its own
        while (folder != NULL && readdir(folder) != NULL) ++count;
        dprintf(1, "%d ", count);
        give_back(0, n);
    }
}

int main(int argc, char** argv) {
    if (argc < 2) return 2;
    with_something(argv[1], argc > 2 ? argv[2] : "");
    about_itself(argv[1]);
    by_call(argv[1]);
    by_call("read");
}
