/* send: the least that a WebSocket server can do for a room: one send(2) for each message and member.
 *
 * The yardstick for what uncoalesced fan-out costs; no bounds, no protocol beyond RFC 6455's framing. Rooms are named by
 * the request's query (?room=...). Usage: send PORT
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define ROOMS 16384
#define MOST 4096

struct client {
  int fd, greeted, room, index, used;
  char buffer[MOST];
};

static struct { struct client **members; int count, size; } rooms[ROOMS];
static int poller;

/* SHA-1 (RFC 3174) of a text of at most 119 bytes. */
static void sha1(const char *text, size_t length, uint8_t out[20]) {
  uint32_t h[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0}, w[80];
  uint8_t block[128] = {0};
  size_t blocks = (length + 8) / 64 + 1;
  memcpy(block, text, length);
  block[length] = 0x80;
  for (int i = 0; i < 8; i++) block[blocks * 64 - 1 - i] = (uint8_t)((uint64_t)length * 8 >> (8 * i));
  for (size_t b = 0; b < blocks; b++) {
    for (int i = 0; i < 16; i++) {
      uint8_t *p = block + b * 64 + i * 4;
      w[i] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
    }
    for (int i = 16; i < 80; i++) {
      uint32_t x = w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16];
      w[i] = x << 1 | x >> 31;
    }
    uint32_t a = h[0], c = h[2], d = h[3], e = h[4], bb = h[1];
    for (int i = 0; i < 80; i++) {
      uint32_t f, k;
      if (i < 20) { f = (bb & c) | (~bb & d); k = 0x5A827999; }
      else if (i < 40) { f = bb ^ c ^ d; k = 0x6ED9EBA1; }
      else if (i < 60) { f = (bb & c) | (bb & d) | (c & d); k = 0x8F1BBCDC; }
      else { f = bb ^ c ^ d; k = 0xCA62C1D6; }
      uint32_t t = (a << 5 | a >> 27) + f + e + k + w[i];
      e = d; d = c; c = bb << 30 | bb >> 2; bb = a; a = t;
    }
    h[0] += a; h[1] += bb; h[2] += c; h[3] += d; h[4] += e;
  }
  for (int i = 0; i < 20; i++) out[i] = (uint8_t)(h[i / 4] >> (24 - 8 * (i % 4)));
}

static void base64(const uint8_t *in, int length, char *out) {
  static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (int i = 0; i < length; i += 3) {
    uint32_t v = (uint32_t)in[i] << 16 | (i + 1 < length ? in[i + 1] << 8 : 0) | (i + 2 < length ? in[i + 2] : 0);
    *out++ = set[v >> 18 & 63];
    *out++ = set[v >> 12 & 63];
    *out++ = i + 1 < length ? set[v >> 6 & 63] : '=';
    *out++ = i + 2 < length ? set[v & 63] : '=';
  }
  *out = 0;
}

static void leave(struct client *c) {
  if (c->greeted) {
    struct client *last = rooms[c->room].members[--rooms[c->room].count];
    rooms[c->room].members[c->index] = last;
    last->index = c->index;
  }
  close(c->fd);
  free(c);
}

static void greet(struct client *c) {
  char *room = strstr(c->buffer, "room="), *key = strcasestr(c->buffer, "sec-websocket-key: ");
  if (!key) return;
  char text[128], answer[256], accept[32];
  uint8_t digest[20];
  int length = snprintf(text, sizeof text, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key + 19);
  sha1(text, length, digest);
  base64(digest, 20, accept);
  length = snprintf(answer, sizeof answer,
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    "Sec-WebSocket-Accept: %s\r\n\r\n", accept);
  c->room = room ? atoi(room + 5) % ROOMS : 0;
  if (rooms[c->room].count == rooms[c->room].size) {
    rooms[c->room].size = rooms[c->room].size ? 2 * rooms[c->room].size : 8;
    rooms[c->room].members = realloc(rooms[c->room].members, rooms[c->room].size * sizeof(struct client *));
  }
  c->index = rooms[c->room].count;
  rooms[c->room].members[rooms[c->room].count++] = c;
  c->greeted = 1;
  c->used = 0;
  if (send(c->fd, answer, length, MSG_NOSIGNAL) < 0) return;
}

static void broadcast(struct client *from, const uint8_t *payload, int size) {
  uint8_t frame[MOST + 4];
  int at = 0;
  frame[at++] = 0x81;
  if (size < 126) frame[at++] = (uint8_t)size;
  else { frame[at++] = 126; frame[at++] = (uint8_t)(size >> 8); frame[at++] = (uint8_t)size; }
  memcpy(frame + at, payload, size);
  at += size;
  for (int i = 0; i < rooms[from->room].count; i++)
    if (send(rooms[from->room].members[i]->fd, frame, at, MSG_NOSIGNAL) < 0) continue;
}

static int frames(struct client *c) {
  for (;;) {
    uint8_t *b = (uint8_t *)c->buffer;
    if (c->used < 6) return 0;
    int size = b[1] & 127, at = 6;
    if (size == 126) { at = 8; if (c->used < 8) return 0; size = b[2] << 8 | b[3]; }
    if (size == 127 || size + at > MOST) return -1;
    if (c->used < at + size) return 0;
    for (int i = 0; i < size; i++) b[at + i] ^= b[at - 4 + i % 4];
    if ((b[0] & 15) == 8) return -1;
    if ((b[0] & 15) == 1) broadcast(c, b + at, size);
    c->used -= at + size;
    memmove(b, b + at + size, c->used);
  }
}

int main(int argc, char **argv) {
  if (argc != 2 || !atoi(argv[1])) { puts("usage: send PORT"); return 2; }
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1])),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096)) { perror("send"); return 1; }
  poller = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN}, events[512];
  epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
  for (;;) {
    int n = epoll_wait(poller, events, 512, -1);
    for (int i = 0; i < n; i++) {
      struct client *c = events[i].data.ptr;
      if (!c) {
        c = calloc(1, sizeof *c);
        c->fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
        if (c->fd < 0) { free(c); continue; }
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        event.data.ptr = c;
        epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event);
        continue;
      }
      ssize_t got = recv(c->fd, c->buffer + c->used, MOST - c->used - 1, 0);
      if (got <= 0) {
        if (got == 0 || errno != EAGAIN) leave(c);
        continue;
      }
      c->used += (int)got;
      c->buffer[c->used] = 0;
      if (!c->greeted) {
        if (strstr(c->buffer, "\r\n\r\n")) greet(c);
      } else if (frames(c)) leave(c);
    }
  }
}
