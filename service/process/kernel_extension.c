/* The extension of compiled kernels: picks the machine code that fits the arguments of a call, and calls it.
 *
 * `kernel_extension.py` generates kernels.inc, the table of what there is, and links this with the object code of every
 * kernel. numba's own sources, which it compiles into each library that it makes ahead of time, hold what that code calls:
 * arrays in and out, memory, exceptions. They come first, since they define how Python's headers are included.
 */

#define PYCC_MODULE_NAME pricegrid
#define PYCC_USE_NRT 1
/* numba's own imports numba */
#define numba_runtime_build_excinfo_struct numba_s_own_build_excinfo_struct
#include "pycc/modulemixin.c"
#undef numba_runtime_build_excinfo_struct

enum { IS_C_ORDER = 1, IS_READONLY = 2, IS_ALIGNED = 4 };
enum { NO = 0, CONVERTIBLE = 1, EXACT = 2 };

/* A type that a kernel takes. */
typedef struct Type {
    char kind;             /* a: array, b: bool, i: int64, t: tuple, y: bytes */
    char element;          /* of an array: NumPy's kind */
    short size;            /* of an array: bytes of an element */
    short count;           /* of an array: dimensions; of a tuple: members */
    short flags;
    const struct Type *members;
    const char *name;      /* of a named tuple: its class */
} Type;

/* A kernel for certain types. `call` is made by numba: it takes the arguments out of the tuple, and releases the GIL. */
typedef struct {
    PyCFunctionWithKeywords call;
    short count;
    const Type *types;
} Signature;

typedef struct {
    const char *name;
    short count;
    const Signature *signatures;
} Kernel;

/* What machine code finds in a variable of its own: a list, kept as numba keeps it. */
typedef struct {
    void **variable;
    const char *pickled;
    int size;
} Constants;

#include "kernels.inc"

static PyObject *describe, *exception_of;

static int fits_all(const Type *types, Py_ssize_t count, PyObject *tuple);

static int
fits_array(const Type *type, PyObject *object)
{
    PyArrayObject *array = (PyArrayObject *)object;
    if (!PyArray_Check(object) || PyArray_NDIM(array) != type->count || PyArray_ITEMSIZE(array) != type->size
        || PyArray_DESCR(array)->kind != type->element || !PyArray_ISNOTSWAPPED(array))
        return NO;
    if ((type->flags & IS_C_ORDER && !PyArray_IS_C_CONTIGUOUS(array)) || (type->flags & IS_ALIGNED && !PyArray_ISALIGNED(array)))
        return NO;
    if (type->flags & IS_READONLY)
        return PyArray_ISWRITEABLE(array) ? CONVERTIBLE : EXACT;
    return PyArray_ISWRITEABLE(array) ? EXACT : NO;
}

static int
fits(const Type *type, PyObject *object)
{
    switch (type->kind) {
    case 'a':
        return fits_array(type, object);
    case 'b':
        return PyBool_Check(object) || PyArray_IsScalar(object, Bool) ? EXACT : NO;
    case 'i':
        if (PyLong_Check(object))
            return PyBool_Check(object) ? CONVERTIBLE : EXACT;
        if (PyArray_IsScalar(object, LongLong) || PyArray_IsScalar(object, Long))
            return EXACT;
        return PyArray_IsScalar(object, Integer) || PyArray_IsScalar(object, Bool) ? CONVERTIBLE : NO;
    case 't':
        if (!PyTuple_Check(object) || PyTuple_GET_SIZE(object) != type->count)
            return NO;
        if (type->name == NULL ? !PyTuple_CheckExact(object) : strcmp(Py_TYPE(object)->tp_name, type->name) != 0)
            return NO;
        return fits_all(type->members, type->count, object);
    case 'y':
        return PyBytes_CheckExact(object) ? EXACT : NO;
    default:
        return NO;
    }
}

static int
fits_all(const Type *types, Py_ssize_t count, PyObject *tuple)
{
    int all = EXACT;
    for (Py_ssize_t i = 0; i < count && all != NO; i++) {
        int one = fits(&types[i], PyTuple_GET_ITEM(tuple, i));
        if (one < all)
            all = one;
    }
    return all;
}

typedef struct {
    PyObject_HEAD
    const Kernel *kernel;
} KernelObject;

static PyObject *
kernel_call(KernelObject *self, PyObject *arguments, PyObject *named)
{
    const Kernel *kernel = self->kernel;
    const Signature *found = NULL;
    if (named != NULL && PyDict_GET_SIZE(named) > 0)
        return PyErr_Format(PyExc_TypeError, "%s takes no arguments by name", kernel->name);
    for (int i = 0; i < kernel->count; i++) {
        const Signature *signature = &kernel->signatures[i];
        if (signature->count != PyTuple_GET_SIZE(arguments))
            continue;
        int how = fits_all(signature->types, signature->count, arguments);
        if (how == EXACT)
            return signature->call(NULL, arguments, NULL);
        if (how == CONVERTIBLE && found == NULL)
            found = signature;
    }
    if (found != NULL)
        return found->call(NULL, arguments, NULL);
    PyObject *types = PyObject_CallFunctionObjArgs(describe, arguments, NULL);
    if (types != NULL) {
        PyErr_Format(PyExc_TypeError, "%s is not compiled for (%U)", kernel->name, types);
        Py_DECREF(types);
    }
    return NULL;
}

static PyObject *
kernel_repr(KernelObject *self)
{
    return PyUnicode_FromFormat("<compiled kernel %s>", self->kernel->name);
}

static PyTypeObject KernelType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "pricegrid_kernels.Kernel",
    .tp_basicsize = sizeof(KernelObject),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_call = (ternaryfunc)kernel_call,
    .tp_repr = (reprfunc)kernel_repr,
    .tp_doc = "A compiled kernel: TypeError for arguments of types that it is not compiled for.",
};

/* (class, arguments, place) of an exception with arguments that a kernel made when it raised it. */
PyObject *
numba_runtime_build_excinfo_struct(PyObject *known, PyObject *made)
{
    return PyObject_CallFunctionObjArgs(exception_of, known, made, NULL);
}

static int
set_constants(PyObject *module, const Constants *constants)
{
    env_def_t definition = {constants->pickled, constants->size, NULL, NULL, 0};
    *constants->variable = recreate_environment(module, definition);
    return *constants->variable == NULL ? -1 : 0;
}

static int
add_kernel(PyObject *kernels, const Kernel *kernel)
{
    KernelObject *object = PyObject_New(KernelObject, &KernelType);
    if (object == NULL)
        return -1;
    object->kernel = kernel;
    int failed = PyDict_SetItemString(kernels, kernel->name, (PyObject *)object);
    Py_DECREF(object);
    return failed;
}

static PyObject *
set_helpers(PyObject *module, PyObject *arguments)
{
    PyObject *describing, *raising;
    if (!PyArg_ParseTuple(arguments, "OO:set_helpers", &describing, &raising))
        return NULL;
    Py_INCREF(describing);
    Py_XSETREF(describe, describing);
    Py_INCREF(raising);
    Py_XSETREF(exception_of, raising);
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"set_helpers", set_helpers, METH_VARARGS,
     "set_helpers(describe, exception_of): see pricegrid.columnar.extension. To be called before any kernel."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "pricegrid_kernels",
    .m_doc = "kernels: those of Pricegrid by name, MODULE.NAME.",
    .m_size = -1,
    .m_methods = methods,
};

PyMODINIT_FUNC
PyInit_pricegrid_kernels(void)
{
    PyObject *module = PyModule_Create(&definition), *kernels = PyDict_New();
    if (module == NULL || kernels == NULL || !init_numpy() || init_dynfunc_module(module))
        return NULL;
    NRT_MemSys_init();
    if (init_nrt_python_module(module) || PyType_Ready(&KernelType))
        return NULL;
    for (size_t i = 0; i < sizeof(all_constants) / sizeof(all_constants[0]); i++)
        if (set_constants(module, &all_constants[i]))
            return NULL;
    for (size_t i = 0; i < sizeof(all_kernels) / sizeof(all_kernels[0]); i++)
        if (add_kernel(kernels, &all_kernels[i]))
            return NULL;
    if (PyModule_AddObject(module, "kernels", kernels))
        return NULL;
    return module;
}
