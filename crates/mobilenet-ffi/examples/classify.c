/*
 * Prints the five likeliest classes of a picture: classify MODEL.safetensors PICTURE.ppm
 *
 * A picture is a binary PPM (P6) of 8 bits, as `convert picture.jpg picture.ppm` makes it.
 */
#include <stdio.h>
#include <stdlib.h>

#include "mobilenet.h"

enum { SHOWN = 5, LONGEST_SIDE = 32768 };

struct picture {
    size_t height, width;
    uint8_t *rgb;
};

/* The next number of a PPM's header, after blanks and comments; -1 where there is none up to `most`. */
static long number(FILE *file, long most)
{
    long value = 0;
    int c = getc(file), digits = 0;
    while (c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '#') {
        if (c == '#') {
            while (c != '\n' && c != EOF) {
                c = getc(file);
            }
        } else {
            c = getc(file);
        }
    }
    for (; c >= '0' && c <= '9'; c = getc(file), digits++) {
        value = 10 * value + (c - '0');
        if (value > most) {
            return -1;
        }
    }
    /* One blank ends a number, and the last one the header. */
    return digits > 0 && (c == ' ' || c == '\t' || c == '\r' || c == '\n') ? value : -1;
}

/* Reads a picture, whose `rgb` the caller frees; returns what is wrong, or NULL. */
static const char *read_ppm(FILE *file, struct picture *picture)
{
    if (getc(file) != 'P' || getc(file) != '6') {
        return "not a binary PPM, which begins with P6";
    }
    long width = number(file, LONGEST_SIDE), height = number(file, LONGEST_SIDE), most = number(file, 65535);
    if (width < 1 || height < 1) {
        return "width or height is not a number from 1 to 32768";
    }
    if (most != 255) {
        return "the largest value is not 255";
    }
    picture->height = (size_t)height;
    picture->width = (size_t)width;
    size_t bytes = 3 * picture->height * picture->width;
    picture->rgb = malloc(bytes);
    if (picture->rgb == NULL) {
        return "not enough memory";
    }
    if (fread(picture->rgb, 1, bytes, file) != bytes) {
        free(picture->rgb);
        return "it ends before its last pixel";
    }
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s MODEL.safetensors PICTURE.ppm\n", argc > 0 ? argv[0] : "classify");
        return 2;
    }

    FILE *file = fopen(argv[2], "rb");
    if (file == NULL) {
        perror(argv[2]);
        return 1;
    }
    struct picture picture;
    const char *error = read_ppm(file, &picture);
    fclose(file);
    if (error != NULL) {
        fprintf(stderr, "%s: %s\n", argv[2], error);
        return 1;
    }

    int status = 1;
    mobilenet *model = mobilenet_open(argv[1], 0, &error);
    if (model == NULL) {
        fprintf(stderr, "%s\n", error);
    } else {
        size_t indices[SHOWN];
        float probabilities[SHOWN];
        ptrdiff_t count =
            mobilenet_classify(model, picture.rgb, picture.height, picture.width, indices, probabilities, SHOWN);
        if (count < 0) {
            fprintf(stderr, "%s\n", mobilenet_error(model));
        } else {
            for (ptrdiff_t i = 0; i < count; i++) {
                printf("%5.1f %%  %s\n", 100 * (double)probabilities[i], mobilenet_class_name(model, indices[i]));
            }
            status = 0;
        }
    }
    mobilenet_close(model);
    free(picture.rgb);
    return status;
}
