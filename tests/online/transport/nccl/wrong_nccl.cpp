// A library under NCCL's name with one of its functions.
extern "C" int ncclGetVersion(int* version) {
  *version = 22809;
  return 0;
}
