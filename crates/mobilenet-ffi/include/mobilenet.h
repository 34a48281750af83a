/*
 * Runs a trained MobileNet from one file: opens a model that `mobilenet export` made, and classifies pictures.
 *
 *     const char *error;
 *     mobilenet *model = mobilenet_open("flowers.safetensors", 0, &error);
 *     if (model == NULL) {
 *         fprintf(stderr, "%s\n", error);
 *         return 1;
 *     }
 *     size_t indices[5];
 *     float probabilities[5];
 *     ptrdiff_t count = mobilenet_classify(model, rgb, height, width, indices, probabilities, 5);
 *     if (count < 0) {
 *         fprintf(stderr, "%s\n", mobilenet_error(model));
 *     }
 *     for (ptrdiff_t i = 0; i < count; i++) {
 *         printf("%5.1f %%  %s\n", 100 * probabilities[i], mobilenet_class_name(model, indices[i]));
 *     }
 *     mobilenet_close(model);
 *
 * All texts are UTF-8, end with a zero, and belong to the library: they are read and never freed. Null pointers and
 * sizes that fit nothing are errors. Different models may be used by different threads at the same time; one model is
 * used by one thread at a time.
 */
#ifndef MOBILENET_H
#define MOBILENET_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A model that was opened, with the memory and the threads that run it. */
typedef struct mobilenet mobilenet;

/*
 * Opens the model in the file `path`. `threads` run it, the calling one among them, at most 1024; 0 stands for as many
 * as the machine has.
 *
 * Returns NULL for an error. Where `error` is not NULL, `*error` then is what went wrong, until the same thread opens
 * again; of a model that was opened it is NULL.
 */
mobilenet *mobilenet_open(const char *path, size_t threads, const char **error);

/* The same for the `len` bytes of a model's file, which are not needed afterwards. */
mobilenet *mobilenet_open_bytes(const uint8_t *bytes, size_t len, size_t threads, const char **error);

/* How many classes the model tells apart; 0 where `model` is NULL. */
size_t mobilenet_classes(const mobilenet *model);

/* The name of class `index`, until the model is closed; NULL where there is no such class. */
const char *mobilenet_class_name(const mobilenet *model, size_t index);

/*
 * Classifies a picture of `height` x `width` pixels, which may have any size: `rgb` is red, green and blue from 0 to 255
 * of each pixel, row by row from the top, without gaps. The model scales it and cuts out its middle as it was trained.
 *
 * Writes the `capacity` likeliest classes, or all where there are fewer, the likeliest first: their numbers to
 * `indices`, how likely they are, from 0 to 1, to `probabilities`. Both have room for `capacity` elements.
 *
 * Returns how many were written, or -1 for an error, which mobilenet_error tells.
 */
ptrdiff_t mobilenet_classify(mobilenet *model, const uint8_t *rgb, size_t height, size_t width, size_t *indices,
                             float *probabilities, size_t capacity);

/* Why the last mobilenet_classify of this model failed, until it is called again; "" where it did not fail. */
const char *mobilenet_error(const mobilenet *model);

/* Closes a model, which must not be used afterwards. Nothing is done where it is NULL. */
void mobilenet_close(mobilenet *model);

#ifdef __cplusplus
}
#endif

#endif
