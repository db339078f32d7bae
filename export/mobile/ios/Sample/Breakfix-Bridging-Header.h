// The C API of onnxruntime-genai; README.md says how its header comes to Frameworks/.
#include <stdbool.h>
#include <stddef.h>
#import "ort_genai_c.h"
