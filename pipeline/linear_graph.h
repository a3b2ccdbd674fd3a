/* Linear models of ai.onnx.ml as ordinary operators, so that they can be trained like the layers of a network. */
#pragma once

#include "onnx/graph.h"

G_BEGIN_DECLS

/* Writes every LinearRegressor and LinearClassifier of the graph as
 *
 *   value = Gemm(x, W, b)
 *   probabilities = Softmax(Gemm(x, W, b)), or of two classes [1 - p, p] with p = Sigmoid(Gemm(x, W, b))
 *   label = the class of the largest probability
 *
 * and drops a Normalizer (L1) behind the probabilities, whose sum is 1 already. Names of values stay. Left as they are,
 * since no layer says the same: scores without a transformation, a logistic function for each of three and more classes
 * (scikit-learn's one-against-the-rest), weights of two classes that are not each other's negative, PROBIT; operator
 * sets below 7. Source: ai.onnx.ml 1 LinearClassifier and LinearRegressor; one row of weights for two classes
 * is read as by the executor (onnx/README.md). */
void pipeline_linear_graph_expand(OnnxGraph *graph);

G_END_DECLS
