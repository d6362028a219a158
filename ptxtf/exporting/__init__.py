"""A trained run -> files that need no ptxtf.

| module      | from                                       | to                                                    |
|-------------|--------------------------------------------|-------------------------------------------------------|
| portable    | trained networks                           | the pure function uint8 [B, S, S, 1] -> probabilities |
| equalise    | uint8 images                               | the same by CLAHE, in operations that converters know |
| shrink      | uint8 images                               | the same at a network's own size, in such operations  |
| decode      | PNG, JPEG or raw bytes                     | pixels, inside a graph                                |
| decide      | probabilities                              | score, mask and run-length text, inside a graph       |
| saved_model | all of these                               | a SavedModel                                          |
| convert     | a network                                  | ONNX and TFLite                                       |
| card        | what is known of the run                   | README.md, the model card                             |
| folder      | a folder's name                            | that folder, whole or not at all                      |
| results     | a run                                      | all of it in order                                    |
"""
