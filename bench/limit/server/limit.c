// limit: the least that a broker does for a Produce or a Fetch request, and nothing else. One thread, one epoll loop:
// no offsets, no index, no topics. What it takes of the processor is the yardstick of "make bench".
//
//   limit write FILE ANSWER SUM    appends all that it receives to FILE, and answers each frame with ANSWER
//   limit read FILE HEAD BYTES TAIL    answers each frame with HEAD, the next BYTES bytes of FILE, and TAIL
//
// ANSWER, HEAD and TAIL are in hexadecimal; TAIL may be empty. A frame is a size of 4 bytes and as many bytes more; 4
// of them, 4 bytes after the size, are its id, which goes into the answer right after the size. If SUM is not 0 the
// CRC-32C of each frame is computed, and goes into ANSWER at this place. The first line of output is the port.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <nmmintrin.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    CHUNK = 256 << 10, // read at a time
    AHEAD = 64 << 20,  // allocated in the file at a time, before it is needed
    START = 12,        // of a frame: its size, four bytes, its id
    WAITING = 64,      // requests that wait for their answers, at most
    LANE = 1024,       // bytes of each of the three checksums that are computed side by side
};

struct request {
    uint32_t id, sum;
};

struct connection {
    int fd, blocked;           // blocked: the socket is full
    unsigned char start[START]; // of the frame under way
    uint64_t seen, size;       // bytes of that frame, its size in front included
    uint32_t sum;
    struct request waiting[WAITING]; // a ring
    unsigned first, count;
    off_t sent, position; // of the oldest answer, how much is sent; of the file, where its bytes begin
};

static unsigned char head[1024], tail[64], chunk[CHUNK];
static off_t headBytes, tailBytes, fileBytes; // of an answer
static off_t fileSize, allocated;
static size_t sumAt;
static int file, storing, poller;

static void fail(const char *what) {
    fprintf(stderr, "limit: %s: %s\n", what, errno ? strerror(errno) : "not what was expected");
    exit(1);
}

static uint32_t be32(const unsigned char *b) { return (uint32_t)b[0] << 24 | b[1] << 16 | b[2] << 8 | b[3]; }

static void put32(unsigned char *b, uint32_t v) {
    v = htonl(v);
    memcpy(b, &v, 4);
}

// zeros[i][b] is what LANE zero bytes make of a checksum whose byte i is b and whose other bytes are 0.
static uint32_t zeros[4][256];

static void prepareChecksums(void) {
    for (int i = 0; i < 4; i++)
        for (uint32_t b = 0; b < 256; b++) {
            uint64_t crc = b << 8 * i;
            for (int n = 0; n < LANE; n += 8) crc = _mm_crc32_u64(crc, 0);
            zeros[i][b] = crc;
        }
}

static uint64_t afterLane(uint64_t crc) {
    return zeros[0][crc & 255] ^ zeros[1][crc >> 8 & 255] ^ zeros[2][crc >> 16 & 255] ^ zeros[3][crc >> 24];
}

static uint64_t word(const unsigned char *b) {
    uint64_t w;
    memcpy(&w, b, 8);
    return w;
}

// crc32c goes on from the checksum of the bytes before. Three lanes keep the unit for checksums busy, which begins one
// in each cycle and has finished it three cycles later.
static uint32_t crc32c(uint32_t before, const unsigned char *b, size_t n) {
    uint64_t crc = ~before;
    for (; n >= 3 * LANE; b += 3 * LANE, n -= 3 * LANE) {
        uint64_t second = 0, third = 0;
        for (int i = 0; i < LANE; i += 8) {
            crc = _mm_crc32_u64(crc, word(b + i));
            second = _mm_crc32_u64(second, word(b + LANE + i));
            third = _mm_crc32_u64(third, word(b + 2 * LANE + i));
        }
        crc = afterLane(afterLane(crc) ^ second) ^ third;
    }
    for (; n >= 8; b += 8, n -= 8) crc = _mm_crc32_u64(crc, word(b));
    for (; n > 0; b++, n--) crc = _mm_crc32_u8(crc, *b);
    return ~(uint32_t)crc;
}

// store appends to the file.
static void store(const unsigned char *b, size_t n) {
    if (fileSize + (off_t)n > allocated) {
        if (fallocate(file, FALLOC_FL_KEEP_SIZE, allocated, AHEAD) != 0) fail("fallocate");
        allocated += AHEAD;
    }
    while (n > 0) {
        ssize_t written = pwrite(file, b, n, fileSize);
        if (written <= 0) fail("pwrite");
        fileSize += written, b += written, n -= written;
    }
}

// take finds the frames in what was received; each that is whole waits for its answer.
static void take(struct connection *c, const unsigned char *b, size_t n) {
    while (n > 0) {
        uint64_t left = c->seen < START ? START - c->seen : c->size - c->seen;
        size_t part = left < n ? left : n;
        if (c->seen < START) memcpy(c->start + c->seen, b, part);
        if (sumAt) c->sum = crc32c(c->sum, b, part);
        c->seen += part, b += part, n -= part;
        if (c->seen == START) c->size = 4 + (uint64_t)be32(c->start);
        if (c->seen < START || c->seen < c->size) continue;
        errno = 0;
        if (c->seen > c->size) fail("the size of a frame");
        if (c->count == WAITING) fail("the number of requests in flight");
        c->waiting[(c->first + c->count++) % WAITING] = (struct request){be32(c->start + 8), c->sum};
        c->seen = c->sum = 0;
    }
}

// answer answers what waits, as far as the socket takes it. It returns 0 if the client has gone.
static int answer(struct connection *c) {
    while (c->count > 0) {
        const struct request *r = &c->waiting[c->first];
        off_t afterHead = c->sent - headBytes, afterFile = afterHead - fileBytes;
        ssize_t n;
        if (afterHead < 0) {
            put32(head + 4, r->id);
            if (sumAt) put32(head + sumAt, r->sum);
            n = send(c->fd, head + c->sent, -afterHead, MSG_NOSIGNAL | (fileBytes ? MSG_MORE : 0));
        } else if (afterFile < 0) {
            off_t at = c->position + afterHead;
            n = sendfile(c->fd, file, &at, -afterFile);
        } else {
            n = send(c->fd, tail + afterFile, tailBytes - afterFile, MSG_NOSIGNAL);
        }
        if (n < 0 && errno == EAGAIN) break;
        if (n < 0 && (errno == EPIPE || errno == ECONNRESET)) return 0;
        if (n <= 0) fail("send");
        c->sent += n;
        if (c->sent < headBytes + fileBytes + tailBytes) continue;
        c->sent = 0;
        if (fileBytes) c->position = (c->position + fileBytes) % fileSize;
        c->first = (c->first + 1) % WAITING, c->count--;
    }
    if (c->blocked == (c->count > 0)) return 1; // epoll knows
    c->blocked = c->count > 0;
    struct epoll_event e = {.events = EPOLLIN | (c->blocked ? EPOLLOUT : 0), .data.ptr = c};
    if (epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &e) != 0) fail("epoll_ctl");
    return 1;
}

// receive reads once. It returns 0 if the client has gone.
static int receive(struct connection *c) {
    ssize_t n = read(c->fd, chunk, CHUNK);
    if (n == 0 || (n < 0 && errno == ECONNRESET)) return 0;
    if (n < 0 && errno != EAGAIN) fail("read");
    if (n > 0 && storing) store(chunk, n);
    if (n > 0) take(c, chunk, n);
    return 1;
}

// serve does one turn for a connection.
static void serve(struct connection *c, uint32_t events) {
    if ((events == EPOLLOUT || receive(c)) && answer(c)) return;
    close(c->fd);
    free(c);
}

static void greet(int listener) {
    struct connection *c = calloc(1, sizeof *c);
    if (!c || (c->fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) < 0) fail("accept");
    int yes = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &e) != 0) fail("epoll_ctl");
}

static int listenOnLoopback(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, length) != 0 || listen(fd, 16) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &length) != 0)
        fail("listen");
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &e) != 0) fail("epoll_ctl");
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

static off_t fromHex(unsigned char *to, size_t room, const char *hex) {
    size_t n = strlen(hex) / 2;
    if (n > room) fail("the length of an answer");
    for (size_t i = 0; i < n; i++)
        if (sscanf(hex + 2 * i, "%2hhx", to + i) != 1) fail("an answer");
    return n;
}

int main(int argc, char **argv) {
    storing = argc == 5 && strcmp(argv[1], "write") == 0;
    if (!storing && (argc != 6 || strcmp(argv[1], "read") != 0)) fail("the arguments");
    if ((file = open(argv[2], storing ? O_RDWR | O_CREAT | O_TRUNC : O_RDONLY, 0600)) < 0) fail(argv[2]);
    headBytes = fromHex(head, sizeof head, argv[3]);
    if (storing) {
        sumAt = strtoul(argv[4], NULL, 10);
    } else {
        struct stat info;
        fileBytes = strtoll(argv[4], NULL, 10);
        tailBytes = fromHex(tail, sizeof tail, argv[5]);
        if (fstat(file, &info) != 0) fail("stat");
        fileSize = info.st_size;
        if (fileBytes <= 0 || fileSize % fileBytes != 0) fail("the size of the file");
    }
    if (headBytes < 8 || (off_t)sumAt > headBytes - 4) fail("the length of an answer");
    prepareChecksums();
    if ((poller = epoll_create1(EPOLL_CLOEXEC)) < 0) fail("epoll_create1");
    int listener = listenOnLoopback();
    for (;;) {
        struct epoll_event events[64];
        int n = epoll_wait(poller, events, 64, -1);
        if (n < 0 && errno != EINTR) fail("epoll_wait");
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr)
                serve(events[i].data.ptr, events[i].events);
            else
                greet(listener);
        }
    }
}
