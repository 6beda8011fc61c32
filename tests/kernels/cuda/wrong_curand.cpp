// A library under cuRAND's name that has too little in it.
extern "C" {
int curandCreateGenerator(void**, int) {
  return 0;
}
int curandCreateGeneratorHost(void**, int) {
  return 0;
}
int curandDestroyGenerator(void*) {
  return 0;
}
}
