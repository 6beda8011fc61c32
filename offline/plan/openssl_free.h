// Ownership of OpenSSL's objects: std::unique_ptr<X509, OpensslFree<X509_free>>.
#pragma once

namespace beaverpond {

template <auto kFree>
struct OpensslFree {
  template <class T>
  void operator()(T* pointer) const {
    kFree(pointer);
  }
};

}  // namespace beaverpond
