/* Streams, events and graphs. Work waits in its stream until something asks for it (CUDA_SHIM_DEFERRED=0: it runs at
 * once): a host that reads results, or changes what is still to be copied, without waiting sees that it did. */
#include "tests/cuda_shim/shim.h"

#include <chrono>
#include <deque>
#include <set>
#include <utility>
#include <vector>

using Clock = std::chrono::steady_clock;

/* Work of a stream, in its order; what it must run after in other streams. */
struct Operation {
  std::string name;
  std::function<void()> run;
  CUstream_st *stream = nullptr;
  std::vector<std::shared_ptr<Operation>> after;
  bool done = false;
};

struct CUstream_st {
  std::deque<std::shared_ptr<Operation>> waiting;
  std::shared_ptr<Operation> last;
  bool blocking = true;
  /* While it captures: where its work goes. A stream that joined by an event owes the origin an event of its own. */
  CUgraph_st *graph = nullptr;
  bool origin = false, owes = false;
};
struct CUevent_st {
  std::shared_ptr<Operation> recorded;
  std::shared_ptr<Clock::time_point> time;
  bool timed = true;
  CUstream_st *captured_in = nullptr; /* the last record was into a graph */
};
/* What a capture has seen, in the order of the calls. */
struct CUgraph_st {
  std::vector<std::pair<std::string, std::function<void()>>> nodes;
  cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  bool broken = false; /* a call that a capture does not allow */
  std::vector<CUstream_st *> streams;
};
struct CUgraphExec_st {
  std::vector<std::pair<std::string, std::function<void()>>> nodes;
};

namespace cuda_shim
{
constexpr size_t LONGEST = 4096; /* operations that wait in one stream */
/* Never destroyed: a program may still free its device while it ends. */
static CUstream_st &legacy = *new CUstream_st;
static std::set<CUstream_st *> &streams = *new std::set<CUstream_st *>;
static std::set<CUevent_st *> &events = *new std::set<CUevent_st *>;
static std::set<CUgraph_st *> &graphs = *new std::set<CUgraph_st *>;
static std::set<CUgraphExec_st *> &executables = *new std::set<CUgraphExec_st *>;

static CUstream_st *find(cudaStream_t stream)
{
  if (stream == nullptr || stream == cudaStreamLegacy || stream == cudaStreamPerThread) return &legacy;
  return streams.count(stream) != 0 ? stream : nullptr;
}

static void run_until(std::shared_ptr<Operation> wanted)
{
  while (!wanted->done) {
    std::shared_ptr<Operation> next = wanted->stream->waiting.front();
    wanted->stream->waiting.pop_front();
    for (const auto &before : next->after)
      if (!before->done) run_until(before);
    {
      Access access;
      next->run();
    }
    check_zones(next->name);
    next->done = true;
    next->run = nullptr;
    next->after.clear();
  }
}

static void wait_for_stream(CUstream_st *stream)
{
  if (stream->last == nullptr || stream->last->done) return;
  Access access;
  run_until(stream->last);
}

void wait_for_all()
{
  wait_for_stream(&legacy);
  for (CUstream_st *stream : streams) wait_for_stream(stream);
}

bool is_stream(cudaStream_t stream)
{
  return find(stream) != nullptr;
}

bool is_capturing(cudaStream_t stream)
{
  CUstream_st *found = find(stream);
  return found != nullptr && found->graph != nullptr;
}

/* A capture that other calls of the API may disturb. */
bool any_capture()
{
  for (CUstream_st *stream : streams)
    if (stream->graph != nullptr && stream->graph->mode != cudaStreamCaptureModeRelaxed) return true;
  return false;
}

static std::shared_ptr<Operation> put(CUstream_st *stream, const std::string &name, std::function<void()> run,
                                      std::shared_ptr<Operation> after)
{
  auto operation = std::make_shared<Operation>();
  operation->name = name;
  operation->run = std::move(run);
  operation->stream = stream;
  if (after != nullptr && !after->done) operation->after.push_back(after);
  /* The legacy stream and every blocking one wait for each other. */
  if (stream == &legacy) {
    for (CUstream_st *other : streams)
      if (other->blocking && other->last != nullptr && !other->last->done) operation->after.push_back(other->last);
  } else if (stream->blocking && legacy.last != nullptr && !legacy.last->done) {
    operation->after.push_back(legacy.last);
  }
  stream->waiting.push_back(operation);
  stream->last = operation;
  if (!settings().deferred || stream->waiting.size() > LONGEST) run_until(operation);
  return operation;
}

cudaError_t enqueue(const Call &call, cudaStream_t handle, const std::string &name, std::function<void()> run)
{
  CUstream_st *stream = find(handle);
  if (stream == nullptr)
    return refuse(cudaErrorInvalidResourceHandle, call, "%p is no stream", static_cast<void *>(handle));
  if (stream->graph != nullptr) {
    if (stream->graph->broken) return refuse(cudaErrorStreamCaptureInvalidated, call, "%s", name.c_str());
    stream->graph->nodes.emplace_back(name, std::move(run));
    stream->owes = !stream->origin;
    return cudaSuccess;
  }
  if (stream == &legacy)
    for (CUstream_st *other : streams)
      if (other->blocking && other->graph != nullptr) {
        other->graph->broken = true;
        return refuse(cudaErrorStreamCaptureImplicit, call, "%s in the legacy stream", name.c_str());
      }
  put(stream, name, std::move(run), nullptr);
  return cudaSuccess;
}

cudaError_t wait_for(const Call &call, cudaStream_t handle)
{
  CUstream_st *stream = find(handle);
  if (stream == nullptr)
    return refuse(cudaErrorInvalidResourceHandle, call, "%p is no stream", static_cast<void *>(handle));
  if (stream->graph != nullptr) {
    stream->graph->broken = true;
    return refuse(cudaErrorStreamCaptureUnsupported, call, "a stream that captures cannot be waited for");
  }
  wait_for_stream(stream);
  return cudaSuccess;
}
} // namespace cuda_shim

using namespace cuda_shim;

#define REQUIRE_STREAM(name)                                                                                           \
  CUstream_st *found = find(name);                                                                                     \
  if (found == nullptr)                                                                                                \
  return refuse(cudaErrorInvalidResourceHandle, call, "%p is no stream", static_cast<void *>(name))
#define REQUIRE_EVENT(name)                                                                                            \
  if (events.count(name) == 0)                                                                                         \
  return refuse(cudaErrorInvalidResourceHandle, call, "%p is no event", static_cast<void *>(name))

/* --- streams -------------------------------------------------------------------------------------------------------
 */
cudaError_t cudaStreamCreateWithPriority(cudaStream_t *stream, unsigned int flags, int)
{
  CUDA_SHIM_CALL(cudaStreamCreateWithPriority);
  if (stream == nullptr || flags > cudaStreamNonBlocking) return refuse(cudaErrorInvalidValue, call, "flags %u", flags);
  *stream = new CUstream_st;
  (*stream)->blocking = flags == cudaStreamDefault;
  streams.insert(*stream);
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned int flags)
{
  CUDA_SHIM_CALL(cudaStreamCreateWithFlags);
  return cudaStreamCreateWithPriority(stream, flags, 0);
}

cudaError_t cudaStreamCreate(cudaStream_t *stream)
{
  CUDA_SHIM_CALL(cudaStreamCreate);
  return cudaStreamCreateWithPriority(stream, cudaStreamDefault, 0);
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
  CUDA_SHIM_CALL(cudaStreamDestroy);
  if (streams.count(stream) == 0)
    return refuse(cudaErrorInvalidResourceHandle, call, "%p is no stream", static_cast<void *>(stream));
  if (stream->graph != nullptr) return refuse(cudaErrorStreamCaptureUnsupported, call, "it captures");
  wait_for_stream(stream); /* a device would do the work later, all the same */
  streams.erase(stream);
  delete stream;
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
  CUDA_SHIM_CALL(cudaStreamSynchronize);
  return wait_for(call, stream);
}

cudaError_t cudaDeviceSynchronize(void)
{
  CUDA_SHIM_CALL(cudaDeviceSynchronize);
  if (any_capture()) return refuse(cudaErrorStreamCaptureUnsupported, call, "a stream is capturing");
  wait_for_all();
  return cudaSuccess;
}

/* The first question finds work unfinished, and has it done. */
cudaError_t cudaStreamQuery(cudaStream_t stream)
{
  CUDA_SHIM_CALL(cudaStreamQuery);
  REQUIRE_STREAM(stream);
  if (found->graph != nullptr) return refuse(cudaErrorStreamCaptureUnsupported, call, "it captures");
  if (found->waiting.empty()) return cudaSuccess;
  wait_for_stream(found);
  return cudaErrorNotReady;
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void *data)
{
  CUDA_SHIM_CALL(cudaLaunchHostFunc);
  if (function == nullptr) return refuse(cudaErrorInvalidValue, call, "no function");
  return enqueue(call, stream, "cudaLaunchHostFunc", [function, data] { function(data); });
}

/* --- events --------------------------------------------------------------------------------------------------------
 */
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned int flags)
{
  CUDA_SHIM_CALL(cudaEventCreateWithFlags);
  if (event == nullptr || flags > 7) return refuse(cudaErrorInvalidValue, call, "flags %u", flags);
  *event = new CUevent_st;
  (*event)->timed = (flags & cudaEventDisableTiming) == 0;
  events.insert(*event);
  return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *event)
{
  CUDA_SHIM_CALL(cudaEventCreate);
  return cudaEventCreateWithFlags(event, cudaEventDefault);
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
  CUDA_SHIM_CALL(cudaEventDestroy);
  REQUIRE_EVENT(event);
  events.erase(event);
  delete event;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
  CUDA_SHIM_CALL(cudaEventRecord);
  REQUIRE_EVENT(event);
  REQUIRE_STREAM(stream);
  event->captured_in = found->graph != nullptr ? found : nullptr;
  event->recorded = nullptr;
  if (found->graph != nullptr) return cudaSuccess;
  event->time = std::make_shared<Clock::time_point>();
  auto time = event->time;
  event->recorded = put(
      found, "cudaEventRecord", [time] { *time = Clock::now(); }, nullptr);
  return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned int)
{
  CUDA_SHIM_CALL(cudaStreamWaitEvent);
  REQUIRE_EVENT(event);
  REQUIRE_STREAM(stream);
  CUstream_st *from = event->captured_in;
  if (from != nullptr && from->graph != nullptr) {
    if (found->graph == nullptr) { /* it joins the capture */
      found->graph = from->graph;
      found->owes = false;
      found->graph->streams.push_back(found);
    } else if (found != from) {
      from->owes = false;
    }
    return cudaSuccess;
  }
  if (found->graph != nullptr) {
    found->graph->broken = true;
    return refuse(cudaErrorStreamCaptureInvalidated, call, "the event was recorded outside the capture");
  }
  if (event->recorded != nullptr)
    put(
        found, "cudaStreamWaitEvent", [] {}, event->recorded);
  return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
  CUDA_SHIM_CALL(cudaEventSynchronize);
  REQUIRE_EVENT(event);
  if (event->captured_in != nullptr) return refuse(cudaErrorCapturedEvent, call, "it was recorded in a capture");
  if (event->recorded != nullptr) run_until(event->recorded);
  return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event)
{
  CUDA_SHIM_CALL(cudaEventQuery);
  REQUIRE_EVENT(event);
  if (event->captured_in != nullptr) return refuse(cudaErrorCapturedEvent, call, "it was recorded in a capture");
  if (event->recorded == nullptr || event->recorded->done) return cudaSuccess;
  run_until(event->recorded);
  return cudaErrorNotReady;
}

cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t start, cudaEvent_t end)
{
  CUDA_SHIM_CALL(cudaEventElapsedTime);
  REQUIRE_EVENT(start);
  REQUIRE_EVENT(end);
  for (cudaEvent_t event : {start, end}) {
    if (!event->timed || event->recorded == nullptr)
      return refuse(cudaErrorInvalidResourceHandle, call, "an event without time, or never recorded");
    if (!event->recorded->done) return cudaErrorNotReady;
  }
  *milliseconds = std::chrono::duration<float, std::milli>(*end->time - *start->time).count();
  return cudaSuccess;
}

/* --- graphs --------------------------------------------------------------------------------------------------------
 */
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode)
{
  CUDA_SHIM_CALL(cudaStreamBeginCapture);
  REQUIRE_STREAM(stream);
  if (found == &legacy) return refuse(cudaErrorStreamCaptureUnsupported, call, "the legacy stream cannot capture");
  if (found->graph != nullptr) return refuse(cudaErrorInvalidValue, call, "it captures already");
  found->graph = new CUgraph_st;
  found->graph->mode = mode;
  found->graph->streams.push_back(found);
  found->origin = true;
  found->owes = false;
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph)
{
  CUDA_SHIM_CALL(cudaStreamEndCapture);
  REQUIRE_STREAM(stream);
  *graph = nullptr;
  if (found->graph == nullptr) return refuse(cudaErrorInvalidValue, call, "it does not capture");
  if (!found->origin) return refuse(cudaErrorStreamCaptureUnmatched, call, "the capture began in another stream");
  CUgraph_st *captured = found->graph;
  bool owes = false;
  for (CUstream_st *member : captured->streams) {
    owes |= member->owes;
    member->graph = nullptr;
    member->origin = member->owes = false;
  }
  captured->streams.clear();
  if (captured->broken || owes) {
    bool broken = captured->broken;
    delete captured;
    return broken ? refuse(cudaErrorStreamCaptureInvalidated, call, "a call during the capture was not allowed")
                  : refuse(cudaErrorStreamCaptureUnjoined, call, "a stream that joined was not waited for");
  }
  graphs.insert(captured);
  *graph = captured;
  return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, enum cudaStreamCaptureStatus *status)
{
  CUDA_SHIM_CALL(cudaStreamIsCapturing);
  REQUIRE_STREAM(stream);
  *status = found->graph == nullptr ? cudaStreamCaptureStatusNone
            : found->graph->broken  ? cudaStreamCaptureStatusInvalidated
                                    : cudaStreamCaptureStatusActive;
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *executable, cudaGraph_t graph, unsigned long long)
{
  CUDA_SHIM_CALL(cudaGraphInstantiate);
  if (graphs.count(graph) == 0)
    return refuse(cudaErrorInvalidValue, call, "%p is no graph", static_cast<void *>(graph));
  *executable = new CUgraphExec_st{graph->nodes};
  executables.insert(*executable);
  return cudaSuccess;
}

cudaError_t cudaGraphExecUpdate(cudaGraphExec_t executable, cudaGraph_t graph,
                                struct cudaGraphExecUpdateResultInfo *result)
{
  CUDA_SHIM_CALL(cudaGraphExecUpdate);
  if (graphs.count(graph) == 0 || executables.count(executable) == 0)
    return refuse(cudaErrorInvalidValue, call, "no graph");
  bool same = graph->nodes.size() == executable->nodes.size();
  for (size_t i = 0; same && i < graph->nodes.size(); i++) same = graph->nodes[i].first == executable->nodes[i].first;
  *result = {same ? cudaGraphExecUpdateSuccess : cudaGraphExecUpdateErrorTopologyChanged, nullptr, nullptr};
  if (!same) return refuse(cudaErrorGraphExecUpdateFailure, call, "the graphs differ");
  executable->nodes = graph->nodes;
  return cudaSuccess;
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t *nodes, size_t *count)
{
  CUDA_SHIM_CALL(cudaGraphGetNodes);
  if (graphs.count(graph) == 0 || nodes != nullptr)
    return refuse(cudaErrorInvalidValue, call, "the shim only counts the nodes");
  *count = graph->nodes.size();
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream)
{
  CUDA_SHIM_CALL(cudaGraphLaunch);
  if (executables.count(executable) == 0) return refuse(cudaErrorInvalidValue, call, "no graph that was instantiated");
  auto nodes = executable->nodes;
  return enqueue(call, stream, "a graph", [nodes] {
    for (const auto &node : nodes) {
      node.second();
      check_zones(node.first);
    }
  });
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable)
{
  CUDA_SHIM_CALL(cudaGraphExecDestroy);
  if (executables.erase(executable) == 0) return refuse(cudaErrorInvalidValue, call, "no graph that was instantiated");
  delete executable;
  return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
  CUDA_SHIM_CALL(cudaGraphDestroy);
  if (graphs.erase(graph) == 0) return refuse(cudaErrorInvalidValue, call, "no graph");
  delete graph;
  return cudaSuccess;
}
