#include "eaves.h"

typedef struct {
  double worth; /* filtering queries a second from which on an attribute is worth its place */
} read_often;
