// Pictures as they are stored, to what the network gets: cropped, mirrored, normalized, erased and mixed by what was
// drawn.

// Of a picture: the pixel (y, x) comes from (y + dy, x + dx), mirrored then; `reflect` at the borders, else black; an
// area that is erased, empty where there is none.
struct Change { int dy, dx, mirror, reflect, top, left, height, width; };

// Where `at` comes from along an axis of `size` pixels; -1 if it is black.
DEVICE int source(int at, int shift, int size, int reflect) {
    int from = at + shift;
    if (from >= 0 && from < size) return from;
    if (!reflect) return -1;
    from = from < 0 ? -from : 2 * (size - 1) - from;
    return from >= 0 && from < size ? from : -1;
}

DEVICE float changed(const unsigned char *pictures, const Change *changes, const float *levels, int i, int y, int x,
                     int channel, int h, int w) {
    const Change &change = changes[i];
    if (y >= change.top && y < change.top + change.height && x >= change.left && x < change.left + change.width) return 0.f;
    const int from_y = source(y, change.dy, h, change.reflect);
    int from_x = source(x, change.dx, w, change.reflect);
    if (change.mirror && from_x >= 0) from_x = w - 1 - from_x;
    const bool black = from_y < 0 || from_x < 0;
    const int value = black ? 0 : pictures[(((Index)i * h + from_y) * w + from_x) * 3 + channel];
    return levels[channel * 256 + value];
}

// augment: pictures u8 [n, h, w, 3] -> images float [n, h, w, 3]; levels [3][256] is what a value becomes. `mix` is
// what the batch is mixed by, each picture with the one before it: 0 nothing, 1 all of it (shares [2]: of the picture,
// of the other), 2 an area. Launch: a thread a value, 256 a block. Cost: reads the pictures, writes the images.
KERNEL(augment, 256,
       (const unsigned char *pictures, const Change *changes, const float *levels, int mix, const float *shares, int top,
        int left, int height, int width, float *images, int n, int h, int w)) {
    const Index at = (Index)blockIdx.x * 256 + threadIdx.x;
    if (at >= (Index)n * h * w * 3) return;
    const int channel = (int)(at % 3), x = (int)(at / 3 % w), y = (int)(at / 3 / w % h), i = (int)(at / 3 / w / h);
    const int before = i == 0 ? n - 1 : i - 1;
    float value = changed(pictures, changes, levels, i, y, x, channel, h, w);
    if (mix == 1)
        value = shares[0] * value + shares[1] * changed(pictures, changes, levels, before, y, x, channel, h, w);
    if (mix == 2 && y >= top && y < top + height && x >= left && x < left + width)
        value = changed(pictures, changes, levels, before, y, x, channel, h, w);
    images[at] = value;
}
