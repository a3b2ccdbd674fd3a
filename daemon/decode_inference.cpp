// Open Inference Protocol V2: {"inputs": [{name, shape, datatype, data}]} and {"outputs": [...]}, data flat or nested.
//
// Which tensor is what. Inputs: one named like a feature is that feature's column; another one with as many columns as
// the schema has features (or has features the model sees) holds all of them in schema order. Outputs: by the names in
// the settings, then by the usual names below, then the first output: as probabilities when it has a column a class,
// else as prediction.
#include "daemon/decode_inference.h"

#include <simdjson.h>

#include <cmath>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace dom = simdjson::dom;

struct _DecodeInference {
  dom::parser parser, envelope_parser;
  std::vector<guint8> buffer;
  std::string prediction_field, score_field;
  DriftSchema *schema = nullptr;
  guint n_features = 0;
  std::vector<DriftValue> values, predictions;
  std::vector<double> scores;
  std::string body, type, id, time, service; // of the envelope
  std::vector<guint8> decoded;
  GError **error = nullptr;

  _DecodeInference() = default;
  _DecodeInference(const _DecodeInference &) = delete;
  _DecodeInference &operator=(const _DecodeInference &) = delete;
  ~_DecodeInference()
  {
    drift_schema_free(schema);
  }
};

namespace
{

const DriftValue missing_value = {DRIFT_VALUE_MISSING, 0, 0, nullptr};

const char *const prediction_names[] = {"predict", "prediction", "label", "output_label", "class", nullptr};
const char *const score_names[] = {"predict_proba", "probabilities", "output_probability", "probability", nullptr};

struct Tensor {
  std::string_view name;
  gsize n_rows = 0, width = 0; // [n_rows][width]
  bool is_flat = false;        // one dimension
  std::vector<DriftValue> data;
};

DecodeReason refuse(_DecodeInference *self, DecodeReason reason, std::string_view field, const char *text)
{
  std::string name(field);
  return decode_refuse(self->error, reason, field.empty() ? nullptr : name.c_str(), 0, "%s", text);
}

// Copies with padding, parses; the element lives until the parser's next use.
DecodeReason parse(_DecodeInference *self, dom::parser *parser, const guint8 *bytes, gsize length, dom::element *root)
{
  if (length > DECODE_MAXIMUM_BYTES) return refuse(self, DECODE_TOO_LARGE, "", "the body is larger than 1 MiB");
  self->buffer.resize(length + simdjson::SIMDJSON_PADDING);
  if (length > 0) std::memcpy(self->buffer.data(), bytes, length);
  std::memset(self->buffer.data() + length, ' ', simdjson::SIMDJSON_PADDING);
  if (decode_depth(self->buffer.data(), length, DECODE_MAXIMUM_DEPTH) > DECODE_MAXIMUM_DEPTH)
    return refuse(self, DECODE_TOO_DEEP, "", "more than 16 levels of objects and lists");
  simdjson::error_code code = parser->parse(self->buffer.data(), length, false).get(*root);
  if (!code) return DECODE_OK;
  if (decode_has_not_finite(self->buffer.data(), length))
    return refuse(self, DECODE_NOT_FINITE, "", "NaN and Infinity are not JSON; send null");
  return refuse(self, DECODE_MALFORMED, "", simdjson::error_message(code));
}

DecodeReason read_scalar(_DecodeInference *self, std::string_view name, dom::element element, DriftValue *value)
{
  *value = missing_value;
  std::string_view text;
  double number;
  bool truth;
  if (element.is_null()) return DECODE_OK;
  if (!element.get_string().get(text)) {
    *value = DriftValue{DRIFT_VALUE_TEXT, static_cast<guint32>(text.size()), 0, text.data()};
  } else if (!element.get_bool().get(truth)) {
    *value = DriftValue{DRIFT_VALUE_NUMBER, 0, truth ? 1. : 0., nullptr};
  } else if (!element.get_double().get(number)) {
    if (!std::isfinite(number)) return refuse(self, DECODE_NOT_FINITE, name, "the number is too large for a double");
    *value = DriftValue{DRIFT_VALUE_NUMBER, 0, number, nullptr};
  } else {
    return refuse(self, DECODE_WRONG_TYPE, name, "an object among the tensor's data");
  }
  return DECODE_OK;
}

// Nested lists are read row by row; their depth is bounded by the parser's.
DecodeReason flatten(_DecodeInference *self, std::string_view name, dom::array array, std::vector<DriftValue> *data)
{
  for (dom::element element : array) {
    dom::array inner;
    DriftValue value;
    DecodeReason reason =
        element.get_array().get(inner) ? read_scalar(self, name, element, &value) : flatten(self, name, inner, data);
    if (reason != DECODE_OK) return reason;
    if (!element.is_array()) data->push_back(value);
  }
  return DECODE_OK;
}

DecodeReason read_shape(_DecodeInference *self, dom::array shape, Tensor *tensor)
{
  gsize dimensions = 0;
  tensor->width = 1;
  for (dom::element element : shape) {
    int64_t size;
    if (element.get_int64().get(size) || size < 0)
      return refuse(self, DECODE_WRONG_TYPE, tensor->name, "a shape is a list of sizes");
    if (size > DECODE_MAXIMUM_BYTES) return refuse(self, DECODE_TOO_MANY, tensor->name, "a size above 1048576");
    if (dimensions++ == 0)
      tensor->n_rows = static_cast<gsize>(size);
    else
      tensor->width *= static_cast<gsize>(size);
    if (tensor->width > DECODE_MAXIMUM_BYTES) return refuse(self, DECODE_TOO_MANY, tensor->name, "too many columns");
  }
  tensor->is_flat = dimensions == 1;
  if (dimensions == 0) tensor->n_rows = 1; // one value
  return DECODE_OK;
}

DecodeReason read_tensor(_DecodeInference *self, dom::element element, Tensor *tensor)
{
  dom::object object;
  dom::array shape, data;
  bool has_shape = false, has_data = false;
  if (element.get_object().get(object)) return refuse(self, DECODE_WRONG_TYPE, "inputs/outputs", "not a tensor object");
  for (dom::key_value_pair member : object) {
    if (member.key == "name" && member.value.get_string().get(tensor->name))
      return refuse(self, DECODE_WRONG_TYPE, "name", "a tensor's name is text");
    if (member.key == "shape") has_shape = !member.value.get_array().get(shape);
    if (member.key == "data") has_data = !member.value.get_array().get(data);
  }
  if (!has_data)
    return refuse(self, DECODE_UNSUPPORTED, tensor->name, "no list of data (tensors in binary form are not supported)");
  if (!has_shape) return refuse(self, DECODE_MISSING_FIELD, tensor->name, "no shape");
  DecodeReason reason = read_shape(self, shape, tensor);
  if (reason == DECODE_OK) reason = flatten(self, tensor->name, data, &tensor->data);
  if (reason != DECODE_OK) return reason;
  if (tensor->data.size() != tensor->n_rows * tensor->width)
    return refuse(self, DECODE_WRONG_TYPE, tensor->name, "the shape does not fit the number of values");
  return DECODE_OK;
}

// The tensors under `key` ("inputs" or "outputs").
DecodeReason read_tensors(_DecodeInference *self, dom::element root, const char *key, std::vector<Tensor> *tensors)
{
  dom::object object;
  dom::array list;
  bool found = false;
  if (root.get_object().get(object)) return refuse(self, DECODE_WRONG_TYPE, "", "the body is not a JSON object");
  for (dom::key_value_pair member : object)
    if (member.key == key) found = !member.value.get_array().get(list);
  if (!found)
    return refuse(self, DECODE_UNSUPPORTED, key, "not there: the body is not of the Open Inference Protocol (V2)");
  for (dom::element element : list) {
    if (tensors->size() >= DECODE_MAXIMUM_FIELDS) return refuse(self, DECODE_TOO_MANY, key, "more than 20000 tensors");
    tensors->emplace_back();
    DecodeReason reason = read_tensor(self, element, &tensors->back());
    if (reason != DECODE_OK) return reason;
  }
  return DECODE_OK;
}

// --- requests
// -----------------------------------------------------------------------------------------------------------

struct Rows {
  bool known = false;
  gsize n = 0;
};

DecodeReason take_rows(_DecodeInference *self, const Tensor &tensor, gsize n, Rows *rows)
{
  if (n > DECODE_MAXIMUM_ROWS) return refuse(self, DECODE_TOO_MANY, tensor.name, "a batch of more than 16384 rows");
  if (rows->known && rows->n != n) return refuse(self, DECODE_WRONG_TYPE, tensor.name, "another number of rows");
  if (!rows->known) self->values.assign(n * self->n_features, missing_value);
  rows->known = true;
  rows->n = n;
  return DECODE_OK;
}

DecodeReason store(_DecodeInference *self, guint feature, gsize row, const DriftValue &value)
{
  const DriftFeature *wanted = drift_schema_get_feature(self->schema, feature);
  if (wanted->kind == DRIFT_NUMERIC && value.kind == DRIFT_VALUE_TEXT)
    return refuse(self, DECODE_WRONG_TYPE, wanted->name, "text where a number belongs");
  self->values[row * self->n_features + feature] = value;
  return DECODE_OK;
}

DecodeReason take_column(_DecodeInference *self, const Tensor &tensor, guint feature, Rows *rows)
{
  if (tensor.width != 1) return refuse(self, DECODE_WRONG_TYPE, tensor.name, "a feature's input has one column");
  DecodeReason reason = take_rows(self, tensor, tensor.n_rows, rows);
  for (gsize row = 0; reason == DECODE_OK && row < tensor.n_rows; row++)
    reason = store(self, feature, row, tensor.data[row]);
  return reason;
}

// The features that the columns of a wide tensor stand for; empty: it does not fit.
std::vector<guint> columns_of(_DecodeInference *self, gsize width)
{
  std::vector<guint> all, inputs;
  for (guint i = 0; i < self->n_features; i++) {
    all.push_back(i);
    if (drift_schema_get_feature(self->schema, i)->input) inputs.push_back(i);
  }
  if (width == all.size()) return all;
  return width == inputs.size() ? inputs : std::vector<guint>();
}

DecodeReason take_wide(_DecodeInference *self, const Tensor &tensor, Rows *rows, bool *taken)
{
  gsize n_rows = tensor.n_rows, width = tensor.width;
  std::vector<guint> columns = columns_of(self, width);
  if (columns.empty() && tensor.is_flat) { // one row without its dimension
    columns = columns_of(self, n_rows);
    width = n_rows;
    n_rows = 1;
  }
  *taken = !columns.empty();
  if (!*taken) return DECODE_OK;
  DecodeReason reason = take_rows(self, tensor, n_rows, rows);
  for (gsize i = 0; reason == DECODE_OK && i < n_rows * width; i++)
    reason = store(self, columns[i % width], i / width, tensor.data[i]);
  return reason;
}

// --- responses
// ----------------------------------------------------------------------------------------------------------

const Tensor *find_output(const std::vector<Tensor> &tensors, const std::string &field, const char *const *names)
{
  for (const Tensor &tensor : tensors)
    if (!field.empty() && tensor.name == field) return &tensor;
  for (; *names != nullptr; names++)
    for (const Tensor &tensor : tensors)
      if (tensor.name == *names) return &tensor;
  return nullptr;
}

gsize n_classes(const _DecodeInference *self)
{
  return self->schema->classes->len;
}

DecodeReason take_prediction(_DecodeInference *self, const Tensor &tensor)
{
  if (tensor.width != 1) return refuse(self, DECODE_WRONG_TYPE, tensor.name, "a prediction has one column");
  for (gsize row = 0; row < tensor.n_rows; row++) self->predictions[row] = tensor.data[row];
  return DECODE_OK;
}

// Column `index` of the row's probabilities that is the score; the prediction too if there is none.
DecodeReason take_probabilities(_DecodeInference *self, const Tensor &tensor)
{
  for (gsize row = 0; row < tensor.n_rows; row++) {
    const DriftValue *values = &tensor.data[row * tensor.width];
    gsize best = 0;
    for (gsize i = 0; i < tensor.width; i++) {
      if (values[i].kind != DRIFT_VALUE_NUMBER)
        return refuse(self, DECODE_WRONG_TYPE, tensor.name, "not a probability");
      if (values[i].number > values[best].number) best = i;
    }
    if (self->predictions[row].kind == DRIFT_VALUE_MISSING) {
      const char *name = static_cast<const char *>(g_ptr_array_index(self->schema->classes, best));
      self->predictions[row] = DriftValue{DRIFT_VALUE_TEXT, static_cast<guint32>(std::strlen(name)), 0, name};
    }
    gint chosen = self->schema->task == DRIFT_TASK_BINARY
                      ? static_cast<gint>(self->schema->positive_class)
                      : drift_schema_class_of(self->schema, &self->predictions[row]);
    self->scores[row] = chosen >= 0 ? values[chosen].number : NAN;
  }
  return DECODE_OK;
}

DecodeReason take_score(_DecodeInference *self, const Tensor &tensor)
{
  if (tensor.width == n_classes(self) && tensor.width > 1) return take_probabilities(self, tensor);
  if (tensor.width != 1)
    return refuse(self, DECODE_WRONG_TYPE, tensor.name, "neither one probability a row nor one a class");
  for (gsize row = 0; row < tensor.n_rows; row++) {
    if (tensor.data[row].kind == DRIFT_VALUE_TEXT) return refuse(self, DECODE_WRONG_TYPE, tensor.name, "not a number");
    if (tensor.data[row].kind == DRIFT_VALUE_NUMBER) self->scores[row] = tensor.data[row].number;
  }
  return DECODE_OK;
}

DecodeReason take_outputs(_DecodeInference *self, const std::vector<Tensor> &tensors, gsize *n_rows)
{
  const Tensor *prediction = find_output(tensors, self->prediction_field, prediction_names);
  const Tensor *score = find_output(tensors, self->score_field, score_names);
  if (prediction == nullptr && score == nullptr) {
    if (tensors.empty()) return refuse(self, DECODE_MISSING_FIELD, "outputs", "is empty");
    bool is_score = tensors[0].width == n_classes(self) && tensors[0].width > 1;
    (is_score ? score : prediction) = &tensors[0];
  }
  *n_rows = (prediction != nullptr ? prediction : score)->n_rows;
  if (*n_rows > DECODE_MAXIMUM_ROWS) return refuse(self, DECODE_TOO_MANY, "outputs", "a batch of more than 16384 rows");
  if (score != nullptr && score->n_rows != *n_rows)
    return refuse(self, DECODE_WRONG_TYPE, score->name, "another number of rows");
  self->predictions.assign(*n_rows, missing_value);
  self->scores.assign(*n_rows, NAN);
  DecodeReason reason = prediction == nullptr ? DECODE_OK : take_prediction(self, *prediction);
  if (reason == DECODE_OK && score != nullptr) reason = take_score(self, *score);
  return reason;
}

gint64 read_version(dom::element root)
{
  std::string_view text;
  int64_t number;
  dom::element version;
  if (root["model_version"].get(version)) return 0;
  if (!version.get_int64().get(number)) return number > 0 ? number : 0;
  gint64 parsed = 0;
  if (version.get_string().get(text)) return 0;
  return g_ascii_string_to_signed(std::string(text).c_str(), 10, 1, G_MAXINT64, &parsed, nullptr) ? parsed : 0;
}

} // namespace

DecodeInference *decode_inference_new(const SettingsFields *fields, const DriftSchema *schema)
{
  auto *self = new _DecodeInference;
  self->prediction_field = fields->prediction;
  self->score_field = fields->score;
  self->schema = drift_schema_copy(schema);
  self->n_features = drift_schema_n_features(schema);
  return self;
}

void decode_inference_free(DecodeInference *inference)
{
  delete inference;
}

DecodeReason decode_inference_request(DecodeInference *self, const guint8 *bytes, gsize length, DecodeRequest *request,
                                      GError **error)
{
  dom::element root;
  std::vector<Tensor> tensors;
  Rows rows;
  bool any = false;
  self->error = error;
  DecodeReason reason = parse(self, &self->parser, bytes, length, &root);
  if (reason == DECODE_OK) reason = read_tensors(self, root, "inputs", &tensors);
  for (size_t i = 0; reason == DECODE_OK && i < tensors.size(); i++) {
    std::string name(tensors[i].name);
    gint feature = drift_schema_find_feature(self->schema, name.c_str());
    bool taken = feature >= 0;
    reason = taken ? take_column(self, tensors[i], static_cast<guint>(feature), &rows)
                   : take_wide(self, tensors[i], &rows, &taken);
    any = any || taken;
  }
  if (reason != DECODE_OK) return reason;
  if (!any)
    return refuse(self, DECODE_WRONG_TYPE, "inputs",
                  "no input is named like a feature, and none has as many columns as the schema has features");
  *request = DecodeRequest{static_cast<guint>(rows.n), self->values.data()};
  return DECODE_OK;
}

DecodeReason decode_inference_response(DecodeInference *self, const guint8 *bytes, gsize length,
                                       DecodeResponse *response, GError **error)
{
  dom::element root;
  std::vector<Tensor> tensors;
  gsize n_rows = 0;
  self->error = error;
  DecodeReason reason = parse(self, &self->parser, bytes, length, &root);
  if (reason == DECODE_OK) reason = read_tensors(self, root, "outputs", &tensors);
  if (reason == DECODE_OK) reason = take_outputs(self, tensors, &n_rows);
  if (reason != DECODE_OK) return reason;
  *response =
      DecodeResponse{static_cast<guint>(n_rows), read_version(root), self->predictions.data(), self->scores.data()};
  return DECODE_OK;
}

static const gchar *keep(std::string *place, dom::element value, bool *wrong)
{
  std::string_view text;
  if (value.get_string().get(text)) {
    *wrong = true;
    return nullptr;
  }
  *place = std::string(text);
  return place->c_str();
}

DecodeReason decode_inference_envelope(DecodeInference *self, const guint8 *bytes, gsize length,
                                       DecodeEnvelope *envelope, GError **error)
{
  dom::element root;
  dom::object object;
  DecodeEnvelope found = {nullptr, nullptr, nullptr, nullptr, nullptr, 0};
  bool wrong = false, has_version = false;
  self->error = error;
  DecodeReason reason = parse(self, &self->envelope_parser, bytes, length, &root);
  if (reason != DECODE_OK) return reason;
  if (root.get_object().get(object)) return refuse(self, DECODE_WRONG_TYPE, "", "not a JSON object");
  for (dom::key_value_pair member : object) {
    if (member.key == "specversion") has_version = true;
    if (member.key == "type") found.type = keep(&self->type, member.value, &wrong);
    if (member.key == "id") found.id = keep(&self->id, member.value, &wrong);
    if (member.key == "time") found.time = keep(&self->time, member.value, &wrong);
    if (member.key == "inferenceservicename") found.service = keep(&self->service, member.value, &wrong);
    if (wrong) return refuse(self, DECODE_WRONG_TYPE, member.key, "an attribute that is not text");
    if (member.key == "data") {
      self->body = simdjson::minify(member.value);
      found.body = reinterpret_cast<const guint8 *>(self->body.data());
      found.body_length = self->body.size();
    } else if (member.key == "data_base64") {
      std::string encoded;
      keep(&encoded, member.value, &wrong);
      if (wrong) return refuse(self, DECODE_WRONG_TYPE, member.key, "not text");
      gsize size = 0;
      guchar *decoded = g_base64_decode(encoded.c_str(), &size);
      self->decoded.assign(decoded, decoded + size);
      g_free(decoded);
      found.body = self->decoded.data();
      found.body_length = size;
    }
  }
  if (!has_version || found.type == nullptr)
    return refuse(self, DECODE_UNSUPPORTED, "", "not a CloudEvent: neither ce_type header nor specversion and type");
  *envelope = found;
  return DECODE_OK;
}
